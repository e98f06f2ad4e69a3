//! The app's Directory, what is listed from it, and what is true.

use super::network::{Answer, Body, Call, Caller, Party, Reply, hub_named, hub_of, room_of};
use super::world::World;
use dormouse_core::call::VERSION;
use dormouse_core::close::{Close, Holder, Whose};
use dormouse_core::directory::{Count, Directory, HubCount, Input, List, Listed, MemoryDirectory, Output};
use dormouse_core::edge::Tally;
use dormouse_core::limits;
use serde_json::Value;
use std::collections::BTreeMap;

/// Within that time after the weather has cleared the list is right: an object that fell while it told something tells it again when its alarm rings, and what failed before is
/// tried again.
pub(super) const BOUND_MS: u64 = limits::DELIVERY_LOOK_MS + limits::REPORT_RETRY_MAX_MS;

/// A Directory with its rows.
pub(super) struct DirectorySide {
    rules: Directory,
    pub(super) store: MemoryDirectory,
    pub(super) alarm: Option<u64>,
    pub(super) life: u64,
    /// A list that somebody is making.
    listing: Option<Listing>,
}

/// How far a list is.
enum Listing {
    /// The Rooms are asked, one after the other.
    Rooms(Listed, Vec<Count>),
    /// The Hubs are.
    Hubs(Tally, Vec<(String, HubCount)>),
}

/// What a list says of each channel: connections, and members.
type Said = BTreeMap<usize, (u64, Option<u64>)>;

impl DirectorySide {
    pub(super) fn new() -> Self {
        let rules = Directory::wake("1".into());
        Self { rules, store: MemoryDirectory::default(), alarm: None, life: 0, listing: None }
    }

    /// Memory goes, and with it who waited; rows stay.
    fn falls(&mut self) {
        self.life += 1;
        self.rules = Directory::wake("1".into());
        self.rules.armed(self.alarm);
    }
}

impl World {
    /// Somebody lists, or closes a user's connections; or the Directory falls.
    pub(super) fn directory_is_used(&mut self) -> Result<(), String> {
        match self.rng.u32(0..12) {
            0 => {
                self.tally.directory_falls += 1;
                self.directory.falls();
                Ok(())
            }
            1 => {
                self.tally.orders += 1;
                // Nobody's: whom it closes is not what is looked at here.
                self.drive_directory(Input::Close { ticket: self.tally.steps, user: "nobody".into() })
            }
            _ => self.list_goes_on().map(drop),
        }
    }

    /// One step of a list: one request. The list, when it is made.
    fn list_goes_on(&mut self) -> Result<Option<String>, String> {
        let listing = match self.directory.listing.take() {
            None => {
                let list =
                    List { version: VERSION, prefix: String::new(), after: None, limit: limits::CHANNELS_PAGE_MAX };
                let side = &mut self.directory;
                let listed = side.rules.list(&list, &mut side.store).map_err(|refusal| refusal.to_string())?;
                Listing::Rooms(listed, Vec::new())
            }
            Some(Listing::Rooms(listed, mut counts)) => {
                if let Some(entry) = listed.channels.get(counts.len()) {
                    let nth = room_of(entry.channel.as_str()).ok_or("whose room?")?;
                    counts.push(self.room_counts(nth)?);
                    Listing::Rooms(listed, counts)
                } else {
                    let (tally, hubs) = Tally::new(listed, counts);
                    Listing::Hubs(tally, hubs)
                }
            }
            Some(Listing::Hubs(mut tally, mut hubs)) => {
                let Some((hub, asked)) = hubs.pop() else { return Ok(Some(self.list_is_made(&tally))) };
                let counts = self.hub_counts(hub_of(&hub)?, &asked)?;
                tally.add(&asked, &counts);
                Listing::Hubs(tally, hubs)
            }
        };
        self.directory.listing = Some(listing);
        Ok(None)
    }

    /// Who has nobody is struck out.
    fn list_is_made(&mut self, tally: &Tally) -> String {
        self.tally.listings += 1;
        let strike = tally.strike();
        self.tally.struck += strike.as_ref().map_or(0, |strike| strike.channels.len() as u64);
        self.calls.extend(strike.map(|strike| Call { caller: None, body: Body::Strike { strike } }));
        tally.body()
    }

    pub(super) fn directory_hears(&mut self, call: Call) -> Result<(), String> {
        if super::shows() {
            println!("{} directory {call:?}", self.now);
        }
        let side = &mut self.directory;
        match call.body {
            Body::Register { report } => {
                self.tally.told += 1;
                let answer = side.rules.report(&report, &mut side.store).map_err(|refusal| refusal.to_string())?;
                let answer = Answer::Registered { at: report.at, state: report.state, answer: Some(answer.at) };
                self.replies.extend(call.caller.map(|caller| Reply { caller, answer }));
                Ok(())
            }
            Body::Strike { strike } => {
                side.rules.strike(strike, &mut side.store).map_err(|refusal| refusal.to_string())
            }
            _ => Err("not for a directory".into()),
        }
    }

    pub(super) fn drive_directory(&mut self, input: Input) -> Result<(), String> {
        if super::shows() {
            println!("{} directory {input:?}", self.now);
        }
        let mut out = Vec::new();
        let side = &mut self.directory;
        side.rules.handle(input, self.now, &mut side.store, &mut out);
        for output in out {
            match output {
                Output::Call { call, holder, user } => {
                    let close = Close { version: VERSION, whose: Whose::User(user) };
                    let caller = Some(Caller { party: Party::Directory, life: self.directory.life });
                    self.calls.push(Call { caller, body: Body::Close { holder, close, call } });
                }
                Output::WakeAt(at) => self.directory.alarm = Some(at),
                Output::Answer { result: Err(refusal), .. } => return Err(refusal.to_string()),
                Output::Answer { .. } | Output::GaveUp { .. } => {}
            }
        }
        Ok(())
    }

    /// What each channel has.
    fn truth(&self) -> Said {
        let mut truth = Said::new();
        for nth in 0..self.rooms.len() {
            let connections = self.subscribers(nth);
            if connections > 0 {
                let members = self.has_members.then(|| self.users_of(nth).len() as u64);
                truth.insert(nth, (connections, members));
            }
        }
        truth
    }

    /// Whether a list says what is true: exactly the channels that have connections, with how many they have. And whether the Directory knows every object with sockets, as it has to for
    /// closing a user's.
    pub(super) fn everything_is_listed(&mut self) -> Result<(), String> {
        self.directory.listing = None;
        let body = loop {
            if let Some(body) = self.list_goes_on()? {
                break body;
            }
        };
        let list: Value = serde_json::from_str(&body).map_err(|error| error.to_string())?;
        let mut said = Said::new();
        for channel in list["channels"].as_array().ok_or("no channels")? {
            let nth = channel["channel"].as_str().and_then(room_of).ok_or("whose room?")?;
            let connections = channel["connections"].as_u64().ok_or("no number")?;
            said.insert(nth, (connections, channel["members"].as_u64()));
        }
        let truth = self.truth();
        if said != truth || list["more"] != false {
            return Err(format!(
                "the list says {body}, and it is {truth:?}; the rows are {:?}",
                self.directory.store.rows
            ));
        }
        let row = |holder: &Holder| self.directory.store.rows.get(holder).copied();
        for side in self.rooms.iter().filter(|side| !side.guests.is_empty()) {
            if row(&Holder::Channel(side.name.clone())).is_none_or(|row| !row.sockets) {
                return Err(format!("it is not known that {} has sockets", side.name));
            }
        }
        for (nth, _) in self.hubs.iter().enumerate().filter(|(_, side)| !side.sockets.is_empty()) {
            if row(&Holder::Hub(hub_named(nth))).is_none() {
                return Err(format!("it is not known that hub {nth} has sockets"));
            }
        }
        Ok(())
    }
}
