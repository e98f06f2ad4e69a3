//! A room with members, for tests.

use super::MembersQuery;
use crate::call::{Connect, VERSION};
use crate::channel::ChannelName;
use crate::config::Rule;
use crate::link::{Delivery, Follow, Receipt};
use crate::presence::{Changes, Member, MemberData, Report};
use crate::room::{Input, Output, Room, Turn};
use crate::session::{Format, Session};
use crate::store::MemoryStore;
use std::collections::{BTreeMap, BTreeSet};

/// A room with sockets of its own, and Hubs that do what they should.
pub(super) struct World {
    pub(super) room: Room,
    pub(super) store: MemoryStore,
    pub(super) now: u64,
    pub(super) sockets: BTreeMap<String, (Session, View)>,
    pub(super) hubs: BTreeMap<&'static str, Hub>,
    pub(super) alarm: Option<u64>,
    /// How many deliveries there were.
    pub(super) deliveries: usize,
    pub(super) number: u64,
    /// The next deliveries are not performed; what they were.
    pub(super) held: Option<Vec<(String, u64, Delivery)>>,
    /// Timers do not ring.
    pub(super) timeless: bool,
}

/// What a client knows, from what it was told.
#[derive(Default, Debug, Clone)]
pub(super) struct View {
    pub(super) users: Option<BTreeSet<String>>,
    pub(super) count: u64,
}

#[derive(Default)]
pub(super) struct Hub {
    pub(super) users: BTreeSet<String>,
    pub(super) have: Option<u64>,
    pub(super) view: View,
    /// The answer to its report has not come.
    pub(super) reporting: bool,
}

impl View {
    pub(super) fn anew(&mut self, list: &[Member], count: u64) {
        self.users = Some(list.iter().map(|member| member.user.clone()).collect());
        self.count = count;
    }

    pub(super) fn changes(&mut self, left: &[String], joined: &[String], count: u64) {
        let users = self.users.as_mut().expect("who has been told the list");
        for user in left {
            users.remove(user);
        }
        for user in joined {
            assert!(users.insert(user.clone()), "{user} joined twice");
        }
        self.count = count;
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            room: wake(),
            store: MemoryStore::default(),
            now: 1_000_000,
            sockets: BTreeMap::new(),
            hubs: BTreeMap::new(),
            alarm: None,
            deliveries: 0,
            number: 0,
            held: None,
            timeless: false,
        }
    }

    pub(super) fn sleep(&mut self) {
        self.room = wake();
        self.room.armed(self.alarm);
    }

    pub(super) fn decide<T>(
        &mut self,
        ask: impl FnOnce(&mut Room, Turn, &mut MemoryStore, &mut Vec<Output>) -> T,
    ) -> T {
        self.number += 1;
        self.store.present = self.sockets.values().map(|(session, _)| session.clone()).collect();
        self.store.remembered = self.sockets.values().next().map(|(session, _)| session.epoch);
        let mut out = Vec::new();
        let turn = Turn { now: self.now, random: self.number };
        let answer = ask(&mut self.room, turn, &mut self.store, &mut out);
        for output in out {
            self.perform(output);
        }
        answer
    }

    pub(super) fn handle(&mut self, input: Input) {
        self.decide(|room, turn, store, out| room.handle(input, turn, store, out));
    }

    pub(super) fn perform(&mut self, output: Output) {
        match output {
            Output::Accept(session) => {
                self.sockets.insert(session.connection.clone(), (session, View::default()));
            }
            Output::Announce(told) => {
                for (name, (session, view)) in &mut self.sockets {
                    if told.fresh.contains(name) {
                        view.anew(&told.list, told.count);
                        session.told = Some(told.revision);
                    } else {
                        let left: Vec<String> = told.left.iter().map(|left| left.user.clone()).collect();
                        let joined: Vec<String> = told.joined.iter().map(|one| one.member.user.clone()).collect();
                        view.changes(&left, &joined, told.count);
                    }
                }
                if told.fresh.is_empty() {
                    self.tell_one(told.revision);
                }
            }
            Output::Told { of, revision } => self.sockets.get_mut(&of).unwrap().0.told = Some(revision),
            Output::AnnounceIn(_) if self.timeless => {}
            Output::AnnounceIn(pause) => {
                self.now += pause;
                self.handle(Input::Announce);
            }
            Output::WakeAt(at) => self.alarm = Some(at),
            Output::Deliver { hub, ticket, delivery } => {
                self.deliveries += 1;
                let delivery = Delivery::decode(&delivery).unwrap();
                if let Some(held) = &mut self.held {
                    return held.push((hub, ticket, delivery));
                }
                assert!(delivery.members.iter().all(|changes| changes.epoch == Some(delivery.after.epoch)));
                let known = self.hubs.get_mut(hub.as_str()).unwrap();
                if let Some(changes) = delivery.members.as_ref().filter(|_| !known.reporting) {
                    known.take(changes);
                }
                let (have, members, reporting) = (Some(delivery.position()), known.have, known.reporting);
                let receipt = Receipt { wanted: true, have, members, reporting, tally: None };
                self.handle(Input::Receipt { hub, ticket, result: Ok(receipt) });
            }
            Output::Refuse(refusal) => panic!("{refusal}"),
            Output::Forget => self.store.members.clear(),
            _ => {}
        }
    }

    pub(super) fn tell_one(&mut self, revision: u64) {
        let keeper = self.sockets.values_mut().next().unwrap();
        keeper.0.told = Some(revision);
    }

    pub(super) fn connect(&mut self, connection: &str, user: &str) {
        let connect = Connect {
            version: VERSION,
            format: Format::Json,
            user: Some(user.to_owned()),
            expires_at: None,
            may_publish: false,
            from: None,
            data: MemberData::parse("{}").ok(),
        };
        let sockets = self.sockets.len();
        self.handle(Input::Connect { connect, connection: connection.to_owned(), sockets });
    }

    pub(super) fn disconnect(&mut self, connection: &str) {
        let (session, _) = self.sockets.remove(connection).unwrap();
        let sockets = self.sockets.len();
        self.handle(Input::Left { session, sockets });
    }

    pub(super) fn report(&mut self, hub: &'static str, joined: &[&str], left: &[&str], whole: bool) {
        if !self.hubs.contains_key(hub) {
            let follow =
                Follow { version: VERSION, hub: hub.to_owned(), at: self.now * 1000 + self.number, count: None };
            self.decide(|room, turn, store, out| room.follow(&follow, turn, store, out)).unwrap();
        }
        let known = self.hubs.entry(hub).or_default();
        let have = known.have;
        known.reporting = true;
        known.users.extend(joined.iter().map(|user| (*user).to_owned()));
        known.users.retain(|user| !left.contains(&user.as_str()));
        let member = |user: &&str| Member { user: (*user).to_owned(), data: None };
        let report = Report {
            version: VERSION,
            hub: hub.to_owned(),
            at: self.now * 1000 + self.number,
            have,
            whole,
            joined: joined.iter().map(member).collect(),
            left: left.iter().map(|user| (*user).to_owned()).collect(),
            list: have.is_none(),
        };
        let changes = self.decide(|room, turn, store, out| room.report(&report, turn, store, out)).unwrap();
        assert!(changes.epoch.is_some() && changes.epoch == self.store.followers.get(hub).map(|row| row.epoch));
        let known = self.hubs.get_mut(hub).unwrap();
        known.reporting = false;
        known.answered(&changes);
    }

    /// Time passes; the alarm rings when it is due.
    pub(super) fn wait(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(at) = self.alarm.take_if(|at| *at <= until) {
            self.now = self.now.max(at);
            let sessions = self.sockets.values().map(|(session, _)| session.clone()).collect();
            self.handle(Input::Alarm { sessions });
        }
        self.now = until;
    }

    pub(super) fn page(&mut self) -> Vec<String> {
        let query = MembersQuery { after: None, limit: 1_000 };
        let page = self.decide(|room, turn, store, _| room.members_page(&query, turn, store)).unwrap();
        assert_eq!(page.count, page.members.len() as u64);
        page.members.into_iter().map(|member| member.user).collect()
    }

    pub(super) fn check(&mut self, users: &[&str]) {
        assert_eq!(self.page(), users);
        let expected: BTreeSet<String> = users.iter().map(|user| (*user).to_owned()).collect();
        for (name, (_, view)) in &self.sockets {
            assert_eq!((view.users.as_ref(), view.count), (Some(&expected), users.len() as u64), "{name}");
        }
        for (name, hub) in self.hubs.iter().filter(|(_, hub)| hub.have.is_some()) {
            assert_eq!((hub.view.users.as_ref(), hub.view.count), (Some(&expected), users.len() as u64), "{name}");
        }
    }
}

impl Hub {
    pub(super) fn take(&mut self, changes: &Changes) {
        match changes.after {
            Some(after) if self.have.is_some_and(|have| after <= have) => {
                let have = self.have.unwrap();
                let left = changes.left.iter().filter(|left| left.at > have).map(|left| left.user.clone());
                let joined = changes.joined.iter().filter(|one| one.at > have).map(|one| one.member.user.clone());
                self.view.changes(&left.collect::<Vec<_>>(), &joined.collect::<Vec<_>>(), changes.count);
                self.have = Some(have.max(changes.revision));
            }
            None if self.have.is_some_and(|have| have < changes.revision) => self.answered(changes),
            _ => {}
        }
    }

    pub(super) fn answered(&mut self, changes: &Changes) {
        if let (Some(list), true) = (&changes.list, changes.after.is_none()) {
            self.view.anew(list, changes.count);
            self.have = Some(changes.revision);
        } else {
            self.take(changes);
        }
    }
}

pub(super) fn wake() -> Room {
    Room::wake(ChannelName::parse("presence-a").unwrap(), Rule::default(), None)
}
