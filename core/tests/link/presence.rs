//! Who is there: what clients know of it, what is true, and a Room's own sockets.

use super::Tally;
use super::room::RoomSide;
use super::world::World;
use dormouse_core::call::{Connect, VERSION};
use dormouse_core::frame::Frame;
use dormouse_core::limits;
use dormouse_core::presence::MemberData;
use dormouse_core::room::{Announcement, Input, MembersQuery, Room};
use dormouse_core::session::{Format, Session};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Fewer than readers: some have several connections, also in different objects.
pub(super) const USERS: usize = 4;
/// Within that time after the weather has cleared everybody knows who is there: an object that lost its sockets looks, its members' grace is over, and what failed before is
/// tried again; and a second for each to be said.
pub(super) const BOUND_MS: u64 =
    limits::PRESENCE_LEASE_MS + limits::LOST_GRACE_MS + limits::DELIVERY_RETRY_MAX_MS + 5_000;
const GUESTS: usize = 3;

/// What each user shows.
type Shown = BTreeMap<String, String>;

/// What a client knows.
#[derive(Debug, Default)]
pub(super) struct View {
    /// And what they show. `None`: it has not been told.
    users: Option<Shown>,
}

impl View {
    /// `members` replaces everything; `presence` says who has left before who has come.
    pub(super) fn hears(&mut self, frame: &Value, text: &str, tally: &mut Tally) -> Result<(), String> {
        let list = |field: &str| frame[field].as_array().cloned().unwrap_or_default();
        let user = |value: &Value| value.as_str().map(str::to_owned).ok_or(format!("no user: {text}"));
        let member = |value: &Value| Ok::<_, String>((user(&value["user"])?, value["data"].to_string()));
        if frame["type"] == "members" {
            tally.lists += 1;
            let members = list("members");
            let users: Result<Shown, String> = members.iter().map(member).collect();
            let users = users?;
            if users.len() != members.len() || frame["more"] == true {
                return Err(format!("not everybody once: {text}"));
            }
            self.users = Some(users);
        } else {
            let users = self.users.as_mut().ok_or(format!("before the list: {text}"))?;
            for left in list("left") {
                tally.leaves += u64::from(users.remove(&user(&left)?).is_some());
            }
            for joined in list("joined") {
                tally.joins += 1;
                let (user, data) = member(&joined)?;
                if users.insert(user, data).is_some() {
                    return Err(format!("twice there: {text}"));
                }
            }
        }
        let count = self.users.as_ref().map(|users| users.len() as u64);
        if count != frame["count"].as_u64() {
            return Err(format!("{:?} are not as many: {text}", self.users));
        }
        Ok(())
    }

    fn knows(&self, page: &Shown) -> Result<(), String> {
        if self.users.as_ref() == Some(page) { Ok(()) } else { Err(format!("knows {:?}", self.users)) }
    }
}

/// A socket of a Room's own. What is said to it is heard at once.
pub(super) struct Guest {
    pub(super) session: Session,
    view: View,
}

impl Guest {
    pub(super) fn new(session: Session) -> Self {
        Self { session, view: View::default() }
    }
}

impl RoomSide {
    /// What its own sockets remember, for the store.
    pub(super) fn look_around(&mut self) {
        self.is_same.set(None);
        self.store.present = self.guests.values().map(|guest| guest.session.clone()).collect();
        self.store.remembered = self.store.present.first().map(|session| session.epoch);
    }

    pub(super) fn announces(&mut self, told: &Announcement, tally: &mut Tally) -> Result<(), String> {
        tally.announcements += 1;
        let (changes, members) = self.room.announced(Format::Json, told);
        for (name, guest) in &mut self.guests {
            let is_fresh = told.fresh.contains(name);
            let frames = if is_fresh { members.as_slice() } else { &changes };
            for frame in frames {
                let Frame::Text(text) = frame else { return Err("a binary frame".into()) };
                if super::shows() {
                    println!("guest {name} <- {text}");
                }
                let frame = serde_json::from_str(text).map_err(|error| format!("{error}: {text}"))?;
                guest.view.hears(&frame, text, tally).map_err(|error| format!("guest {name}: {error}"))?;
            }
            if is_fresh {
                guest.session.told = Some(told.revision);
            }
        }
        if told.fresh.is_empty() {
            self.one_remembers(told.revision);
        }
        Ok(())
    }

    fn one_remembers(&mut self, revision: u64) {
        if let Some(guest) = self.guests.values_mut().next() {
            guest.session.told = Some(revision);
        }
    }

    /// A page, as a room would say it that wakes for it.
    fn page(&mut self, now: u64) -> Result<Shown, String> {
        self.look_around();
        let mut room = Room::wake(self.name.clone(), self.rule.clone(), None);
        read_page(&mut room, &mut self.store.clone(), now)
    }
}

fn read_page(room: &mut Room, store: &mut dormouse_core::store::MemoryStore, now: u64) -> Result<Shown, String> {
    let query = MembersQuery { after: None, limit: limits::MEMBERS_PAGE_MAX };
    let turn = dormouse_core::room::Turn { now, random: 1 };
    let page = room.members_page(&query, turn, store).map_err(|refusal| refusal.to_string())?;
    if page.count != page.members.len() as u64 {
        return Err(format!("{} on a page of {:?}", page.count, page.members));
    }
    let shown = |data: Option<MemberData>| data.map_or("null".into(), |data| data.as_str().to_owned());
    Ok(page.members.into_iter().map(|member| (member.user, shown(member.data))).collect())
}

impl World {
    pub(super) fn user(reader: usize) -> String {
        format!("u{}", reader % (USERS - 1))
    }

    /// Somebody comes to a Room itself, or goes.
    pub(super) fn a_guest_acts(&mut self, nth: usize) -> Result<(), String> {
        let side = &self.rooms[nth];
        if side.guests.len() >= GUESTS || (!side.guests.is_empty() && self.rng.bool()) {
            let names: Vec<String> = side.guests.keys().cloned().collect();
            let name = self.rng.choice(&names).cloned().unwrap_or_default();
            return self.guest_leaves(nth, &name);
        }
        self.a_guest_comes(nth)
    }

    pub(super) fn a_guest_comes(&mut self, nth: usize) -> Result<(), String> {
        self.tally.guests += 1;
        self.connections += 1;
        let connect = Connect {
            version: VERSION,
            format: Format::Json,
            user: self.has_members.then(|| format!("u{}", self.rng.usize(0..USERS))),
            expires_at: None,
            may_publish: false,
            from: None,
            data: MemberData::parse(&format!("\"g{}\"", self.connections)).ok(),
        };
        let (connection, sockets) = (format!("g{}", self.connections), self.rooms[nth].guests.len());
        self.drive_room(nth, Input::Connect { connect, connection, sockets })
    }

    pub(super) fn guests_leave(&mut self, nth: usize) -> Result<(), String> {
        let names: Vec<String> = self.rooms[nth].guests.keys().cloned().collect();
        names.iter().try_for_each(|name| self.guest_leaves(nth, name))
    }

    pub(super) fn guest_leaves(&mut self, nth: usize, name: &str) -> Result<(), String> {
        let Some(guest) = self.rooms[nth].guests.remove(name) else { return Ok(()) };
        let sockets = self.rooms[nth].guests.len();
        self.drive_room(nth, Input::Left { session: guest.session, sockets })
    }

    /// Where nobody follows and nobody is, a crash is found out when somebody asks.
    pub(super) fn somebody_asks(&mut self) -> Result<(), String> {
        let now = self.now;
        for side in self.rooms.iter_mut().filter(|side| side.name.has_members() && side.store.followers.is_empty()) {
            side.look_around();
            read_page(&mut side.room, &mut side.store, now)?;
        }
        Ok(())
    }

    /// Who is in a channel.
    pub(super) fn users_of(&self, nth: usize) -> BTreeSet<String> {
        let readers = (0..self.wants.len()).filter(|who| self.has(*who, nth)).map(Self::user);
        let guests = self.rooms[nth].guests.values().filter_map(|guest| guest.session.user.clone());
        readers.chain(guests).collect()
    }

    /// Whether the Rooms and all clients know who is there, and nobody else.
    pub(super) fn everybody_knows(&mut self) -> Result<(), String> {
        for nth in 0..self.rooms.len() {
            if !self.rooms[nth].name.has_members() {
                continue;
            }
            let subscribed = |reader: usize| self.readers[reader].has(nth);
            let readers: Vec<usize> = (0..self.readers.len()).filter(|reader| subscribed(*reader)).collect();
            let truth = self.users_of(nth);
            let side = &mut self.rooms[nth];
            let wrong = |who: String, error: String| format!("channel {nth}: {truth:?} are there, {who} {error}");
            let page = side.page(self.now)?;
            let wrong = |who, error| wrong(who, format!("{error}; the page says {page:?}"));
            if !page.keys().eq(&truth) {
                return Err(wrong("the page".into(), "is wrong".into()));
            }
            for (name, guest) in &side.guests {
                guest.view.knows(&page).map_err(|error| wrong(format!("guest {name}"), error))?;
            }
            for (who, pusher) in self.pushers.iter().enumerate().filter(|(_, pusher)| pusher.has(nth)) {
                let members = &pusher.channels[nth].members;
                if members.as_ref() != Some(&page) {
                    return Err(wrong(format!("pusher {who}"), format!("knows {members:?}")));
                }
            }
            for reader in readers {
                let view = &self.readers[reader].channels[&nth].view;
                view.knows(&page).map_err(|error| wrong(format!("reader {reader}"), error))?;
            }
        }
        Ok(())
    }
}
