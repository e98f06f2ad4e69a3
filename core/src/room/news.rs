//! What webhooks are told of a channel: who is there, who came and went, what clients publish, and that a cache is empty. Found here, kept and sent by the outbox. Nothing happens in
//! channels without webhooks.

use super::outbox::{News, Outbox, Told};
use super::{Output, Room, Turn};
use crate::call::Begin;
use crate::limits;
use crate::link::Delivery;
use crate::message::Message;
use crate::occupancy::Occupancy;
use crate::presence::Changes;
use crate::store::{Store, StoreError};
use crate::webhook::{Hooks, Kind, channel_event, client_event, member_event};

/// What a room has to do with webhooks.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    hooks: Hooks,
    /// Read when it is first needed.
    pub(super) outbox: Option<Outbox>,
    /// What this turn has found.
    news: Vec<News>,
    /// When a channel that nobody has is vacant, in milliseconds.
    vacant_at: Option<u64>,
}

impl Outgoing {
    fn want_occupancy(&self) -> bool {
        self.hooks.want(Kind::ChannelOccupied) || self.hooks.want(Kind::ChannelVacated)
    }

    fn want_members(&self) -> bool {
        self.hooks.want(Kind::MemberAdded) || self.hooks.want(Kind::MemberRemoved)
    }
}

/// Those of one kind, and the others.
fn split(news: Vec<News>, kind: Kind) -> (Vec<News>, Vec<News>) {
    news.into_iter().partition(|news| news.kind == kind)
}

impl Room {
    /// With the webhooks of its channel.
    #[must_use]
    pub fn with_hooks(mut self, hooks: Hooks) -> Self {
        self.outgoing.hooks = hooks;
        self
    }

    fn outbox<S: Store>(&mut self, turn: Turn, store: &mut S) -> Result<&mut Outbox, StoreError> {
        let outbox = match self.outgoing.outbox.take() {
            Some(outbox) => outbox,
            // What waits, waits for the alarm.
            None => Outbox::load(&self.outgoing.hooks, turn.now, self.armed, store)?,
        };
        Ok(self.outgoing.outbox.insert(outbox))
    }

    /// What webhooks have been told; `None` if that is not known, or nobody wants to know.
    fn told<S: Store>(&mut self, turn: Turn, store: &mut S) -> Option<Told> {
        if self.outgoing.hooks.is_empty() {
            return None;
        }
        self.outbox(turn, store).ok().map(|outbox| outbox.told())
    }

    pub(super) fn note(&mut self, kind: Kind, text: String) {
        self.outgoing.news.push(News { kind, text });
    }

    /// Whether a webhook wants such events.
    pub(super) fn hooks_want(&self, kind: Kind) -> bool {
        self.outgoing.hooks.want(kind)
    }

    /// Somebody is there.
    pub(super) fn inhabited<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if !self.outgoing.want_occupancy() {
            return;
        }
        self.outgoing.vacant_at = None;
        let known = self.told(turn, store).is_none_or(|told| told.occupied);
        if !known && !self.outgoing.news.iter().any(|news| news.kind == Kind::ChannelOccupied) {
            self.note(Kind::ChannelOccupied, channel_event(Kind::ChannelOccupied, &self.channel));
            self.wake_at(turn.now + limits::WEBHOOK_LOOK_MS, out);
        }
    }

    /// The last one has left, who is back within `pause` milliseconds or not.
    pub(super) fn emptied(&mut self, pause: u64, turn: Turn, out: &mut Vec<Output>) {
        if self.outgoing.want_occupancy() {
            self.outgoing.vacant_at = Some(turn.now + pause);
            self.wake_at(turn.now + pause, out);
        }
    }

    /// By alarm, which knows everything: whether the channel is vacant, and what waits to be sent.
    pub(super) fn look_after_hooks<S: Store>(
        &mut self,
        state: Occupancy,
        turn: Turn,
        store: &mut S,
        due: &mut Vec<u64>,
        out: &mut Vec<Output>,
    ) {
        if self.outgoing.hooks.is_empty() {
            return;
        }
        let Some(told) = self.told(turn, store) else {
            // A store that cannot be read now.
            return due.push(turn.now + limits::WEBHOOK_RETRY_MAX_MS);
        };
        if state != Occupancy::Vacant {
            self.inhabited(turn, store, out);
        } else if told.occupied {
            // Whose sockets vanished without a word is about to come back.
            let at = *self.outgoing.vacant_at.get_or_insert(turn.now + limits::LOST_GRACE_MS);
            // Its members leave before.
            let leaving = self.members.as_mut().is_some_and(|known| known.roster.due(turn.now).is_some());
            if at > turn.now {
                due.push(at);
            } else if !leaving {
                self.outgoing.vacant_at = None;
                self.note(Kind::ChannelVacated, channel_event(Kind::ChannelVacated, &self.channel));
            }
        }
        if state == Occupancy::Held && self.outgoing.want_occupancy() {
            due.push(turn.now + limits::WEBHOOK_LOOK_MS);
        }
        self.tell_hooks(turn, store, out);
        due.extend(self.outgoing.outbox.as_ref().and_then(|outbox| outbox.due(turn.now)));
    }

    /// What clients have published, now that it is stored; `from` are their connections.
    pub(super) fn published(&mut self, messages: &[Message], from: &[Option<String>]) {
        if !self.outgoing.hooks.want(Kind::ClientEvent) {
            return;
        }
        for (message, from) in messages.iter().zip(from) {
            if let Some(from) = from {
                self.note(Kind::ClientEvent, client_event(&self.channel, message, from));
            }
        }
    }

    /// Who subscribes to a cache asks for its last message, and there is none.
    pub(super) fn missing(&mut self, from: Begin, delivery: &Delivery) {
        let misses = from == Begin::Last(1) && delivery.messages.is_empty();
        if misses && self.channel.is_cache() && self.outgoing.hooks.want(Kind::CacheMiss) {
            self.note(Kind::CacheMiss, channel_event(Kind::CacheMiss, &self.channel));
        }
    }

    /// At the end of a turn: keeps what it has found, and sends what is due. One row for each webhook that wants to know; one request to each of them, and one row for the alarm.
    pub(super) fn tell_hooks<S: Store>(&mut self, turn: Turn, store: &mut S, out: &mut Vec<Output>) {
        if self.outgoing.hooks.is_empty() {
            return;
        }
        if self.followers.as_ref().is_some_and(|followers| !followers.by_hub.is_empty()) {
            self.inhabited(turn, store, out);
        }
        let (members, revision) = self.member_news(turn, store).unzip();
        let members = members.unwrap_or_default();
        let news = core::mem::take(&mut self.outgoing.news);
        // As one would tell it: whoever comes, comes to a channel that is occupied.
        let (first, news) = split(news, Kind::ChannelOccupied);
        let (last, others) = split(news, Kind::ChannelVacated);
        let news: Vec<News> = first.into_iter().chain(members).chain(others).chain(last).collect();
        if !news.is_empty() || revision.is_some() {
            self.keep_news(&news, revision, turn, store);
        }
        let Some(outbox) = &mut self.outgoing.outbox else { return };
        let posts = outbox.posts(&self.outgoing.hooks, &self.channel, turn, store);
        let due = outbox.due(turn.now);
        out.extend(posts.into_iter().map(Output::Post));
        if let Some(at) = due {
            self.wake_at(at, out);
        }
    }

    fn keep_news<S: Store>(&mut self, news: &[News], revision: Option<u64>, turn: Turn, store: &mut S) {
        // A store that cannot be read cannot be written either: what is told of who is there is found again.
        let Ok(mut told) = self.outbox(turn, store).map(|outbox| outbox.told()) else { return };
        for news in news {
            match news.kind {
                Kind::ChannelOccupied => told.occupied = true,
                Kind::ChannelVacated => told.occupied = false,
                _ => {}
            }
        }
        told.revision = revision.unwrap_or(told.revision);
        if let Some(outbox) = &mut self.outgoing.outbox {
            outbox.keep(news, told, &self.outgoing.hooks, turn, store);
        }
    }

    /// Who came and went since webhooks were last told; up to which revision they know it then, if anything has changed. Nothing where the members have not been looked at.
    fn member_news<S: Store>(&mut self, turn: Turn, store: &mut S) -> Option<(Vec<News>, u64)> {
        if self.members.is_none() || !self.outgoing.want_members() {
            return None;
        }
        let told = self.told(turn, store)?;
        let roster = &mut self.members.as_mut()?.roster;
        let head = roster.head(turn.now);
        if head <= told.revision {
            return None;
        }
        let after = told.revision.max(roster.floor());
        let Changes { joined, left, .. } = roster.since(Some(after), turn.now, usize::MAX, false);
        let mut news = Vec::with_capacity(joined.len() + left.len());
        let mut tell = |kind: Kind, user: &str| news.push(News { kind, text: member_event(kind, &self.channel, user) });
        // Both are in the order in which it happened.
        let mut left = left.iter().peekable();
        for joined in &joined {
            while let Some(left) = left.next_if(|left| left.at < joined.at) {
                tell(Kind::MemberRemoved, &left.user);
            }
            tell(Kind::MemberAdded, &joined.member.user);
        }
        left.for_each(|left| tell(Kind::MemberRemoved, &left.user));
        Some((news, head))
    }

    /// The revision of the members up to which webhooks have been told, where they want to know.
    pub(super) fn members_told<S: Store>(&mut self, turn: Turn, store: &mut S) -> Option<u64> {
        if self.outgoing.want_members() { Some(self.told(turn, store).map_or(0, |told| told.revision)) } else { None }
    }

    /// What became of a request.
    pub(super) fn posted<S: Store>(&mut self, (url, ticket): (&str, u64), taken: bool, turn: Turn, store: &mut S) {
        let Some(outbox) = &mut self.outgoing.outbox else { return };
        outbox.posted(url, ticket, taken, turn, store);
    }

    /// Whether something waits to be sent, or will have to be.
    pub(super) fn has_news<S: Store>(&mut self, turn: Turn, store: &mut S) -> bool {
        if self.outgoing.hooks.is_empty() {
            return false;
        }
        let occupied = self.outgoing.want_occupancy();
        self.outbox(turn, store).map_or(true, |outbox| !outbox.is_empty() || (occupied && outbox.told().occupied))
    }
}
