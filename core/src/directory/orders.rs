//! Closing the connections of a user: every Hub and every Room with sockets of its own is called, so many at once. Who does not answer is called again, by alarm,
//! until everybody has. An order is a row, so a crash does not end it; how far it is, is in memory, and a crash makes it begin anew.

use super::ClosedUser;
use super::refusal_of;
use super::store::{DirectoryStore, Row};
use crate::close::{Closed, Holder};
use crate::limits;
use crate::occupancy::Occupancy;
use crate::refusal::{Code, Refusal};
use crate::store::StoreError;
use std::collections::{BTreeMap, VecDeque};

/// An order as it is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Order {
    /// Whose connections.
    pub user: String,
    /// When it was placed, in milliseconds.
    pub at: u64,
}

/// What happens.
#[derive(Debug)]
pub enum Input {
    /// The Worker places an order.
    Close {
        /// Names the call in [`Output::Answer`].
        ticket: u64,
        /// Whose connections.
        user: String,
    },
    /// What became of an [`Output::Call`].
    Called {
        /// The call.
        call: u64,
        /// The object's answer, or why there is none.
        result: Result<Closed, Refusal>,
    },
    /// A second has passed. Given while a call waits for its answer.
    Tick,
    /// The alarm rang.
    Alarm,
}

/// What has to be done about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Tell an object to close a user's connections: one request, and [`Input::Called`].
    Call {
        /// Names the call in [`Input::Called`].
        call: u64,
        /// The object.
        holder: Holder,
        /// The user.
        user: String,
    },
    /// Answer the Worker.
    Answer {
        /// The call.
        ticket: u64,
        /// What became of it so far.
        result: Result<ClosedUser, Refusal>,
    },
    /// Set the alarm, in milliseconds since 1970: one row written.
    WakeAt(u64),
    /// An order was given up: say in the log how many objects never answered.
    GaveUp {
        /// Those that are known.
        objects: usize,
    },
}

/// An object that an order has to call.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target {
    /// The object.
    pub holder: Holder,
    /// The number of the report that the row has: what was reported since is not struck out.
    pub at: u64,
}

/// Which objects an order has read: those up to this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cursor {
    /// Hubs come first.
    Hubs(String),
    /// Then Rooms.
    Rooms(String),
    /// All of them.
    End,
}

impl Target {
    /// Its name in the order in which it is read.
    #[must_use]
    pub fn name(&self) -> &str {
        match &self.holder {
            Holder::Channel(channel) => channel.as_str(),
            Holder::Hub(hub) => hub,
        }
    }
}

/// The orders that are not done.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// In the order in which they came; read from the store when they are first needed.
    running: Option<Vec<Running>>,
    under_way: BTreeMap<u64, Call>,
    calls: u64,
    armed: Option<u64>,
}

#[derive(Debug)]
struct Call {
    order: Order,
    target: Target,
}

/// How far an order is.
#[derive(Debug)]
struct Running {
    order: Order,
    /// Who waits for the answer.
    ticket: Option<u64>,
    closed: u64,
    cursor: Cursor,
    queue: VecDeque<Target>,
    under_way: usize,
    failed: Vec<Target>,
    /// Rounds that were not complete, in a row.
    failures: u32,
    retry_at: Option<u64>,
}

impl Running {
    fn new(order: Order, ticket: Option<u64>) -> Self {
        let cursor = Cursor::Hubs(String::new());
        let (queue, failed) = (VecDeque::new(), Vec::new());
        Self { order, ticket, closed: 0, cursor, queue, under_way: 0, failed, failures: 0, retry_at: None }
    }

    /// The next object to call: of those that were read, and when there are none, of those that come after.
    fn next<S: DirectoryStore>(&mut self, store: &mut S) -> Option<Target> {
        while self.retry_at.is_none() {
            if let Some(target) = self.queue.pop_front() {
                return Some(target);
            }
            if self.cursor == Cursor::End || self.failed.len() >= limits::ORDER_TARGETS {
                return None;
            }
            // What cannot be read now is read when it goes on.
            let (targets, cursor) = store.targets(&self.cursor).ok()?;
            self.queue.extend(targets);
            self.cursor = cursor;
        }
        None
    }

    /// Nothing is under way, and nothing can be begun.
    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.queue.is_empty() && self.retry_at.is_none()
    }

    fn is_done(&self) -> bool {
        self.is_idle() && self.cursor == Cursor::End && self.failed.is_empty()
    }

    fn answer(&mut self, done: bool, out: &mut Vec<Output>) {
        if let Some(ticket) = self.ticket.take() {
            out.push(Output::Answer { ticket, result: Ok(ClosedUser { closed: self.closed, done }) });
        }
    }

    /// The round is over, and not everybody has answered: another one later.
    fn again_later(&mut self, now: u64, out: &mut Vec<Output>) -> u64 {
        self.answer(false, out);
        let pause = limits::ORDER_RETRY_MS << self.failures.min(16);
        self.failures = self.failures.saturating_add(1);
        self.queue = core::mem::take(&mut self.failed).into();
        *self.retry_at.insert(now + pause.min(limits::ORDER_RETRY_MAX_MS))
    }
}

impl Orders {
    /// What an event has set before stands, if it is earlier.
    pub(super) fn armed(&mut self, armed: Option<u64>) {
        self.armed = self.armed.into_iter().chain(armed).min();
    }

    /// Decides; what was struck out on the way is returned.
    pub(super) fn handle<S: DirectoryStore>(
        &mut self,
        input: Input,
        now: u64,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Vec<(Holder, u64)> {
        let mut struck = Vec::new();
        match input {
            Input::Close { ticket, user } => {
                if let Err(refusal) = self.place(Order { user, at: now }, ticket, store, out) {
                    out.push(Output::Answer { ticket, result: Err(refusal) });
                }
            }
            Input::Called { call, result } => struck.extend(self.called(call, result.ok(), store)),
            Input::Tick => {
                let late = |running: &&mut Running| now >= running.order.at + limits::ORDER_ANSWER_MS;
                self.running.iter_mut().flatten().filter(late).for_each(|running| running.answer(false, out));
            }
            Input::Alarm => self.alarm(now, store, out),
        }
        self.go_on(now, store, out);
        struck
    }

    /// The running ones: after waking, those that are stored.
    fn running<S: DirectoryStore>(&mut self, store: &mut S) -> Result<&mut Vec<Running>, StoreError> {
        let running = match self.running.take() {
            Some(running) => running,
            None => store.orders()?.into_iter().map(|order| Running::new(order, None)).collect(),
        };
        Ok(self.running.insert(running))
    }

    /// One row for the order, one for the alarm that takes it up again after a crash, and one when it is done. An order for the same user begins anew: somebody may have
    /// come to an object that has been called.
    fn place<S: DirectoryStore>(
        &mut self,
        mut order: Order,
        ticket: u64,
        store: &mut S,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let running = self.running(store).map_err(refusal_of)?;
        let known = running.iter().position(|running| running.order.user == order.user);
        if known.is_none() && running.len() >= limits::ORDERS_MAX {
            let message = "the connections of too many users are being closed: try again in a second";
            return Err(Refusal::new(Code::Overloaded, message));
        }
        if let Some(known) = known.and_then(|known| running.get(known)) {
            // What is under way for the one before is not this one's.
            order.at = order.at.max(known.order.at + 1);
        }
        store.place(&order).map_err(refusal_of)?;
        let lease = order.at + limits::ORDER_LEASE_MS;
        if let Some(known) = known {
            running.remove(known).answer(false, out);
        }
        running.push(Running::new(order, Some(ticket)));
        self.wake_at(lease, out);
        Ok(())
    }

    /// Notes what an object answered. One that has less than its row says is struck out, unless it has reported since.
    fn called<S: DirectoryStore>(&mut self, call: u64, answer: Option<Closed>, store: &mut S) -> Option<(Holder, u64)> {
        let Call { order, target } = self.under_way.remove(&call)?;
        let running = self.running.iter_mut().flatten().find(|running| running.order == order);
        if let Some(running) = running {
            running.under_way = running.under_way.saturating_sub(1);
            match answer {
                Some(closed) => running.closed += closed.closed as u64,
                None => running.failed.push(target.clone()),
            }
        }
        // A row that stays costs a request, and no more: what fails here is done with the next order.
        let is_as_read = store.row(&target.holder).is_ok_and(|row| row.is_some_and(|row| row.at == target.at));
        match answer?.state {
            Occupancy::Vacant if is_as_read => store.remove(&target.holder).ok().map(|()| (target.holder, target.at)),
            Occupancy::Followed if is_as_read => {
                let _ = store.put(&target.holder, Row { at: target.at, sockets: false });
                None
            }
            Occupancy::Vacant | Occupancy::Followed | Occupancy::Held => None,
        }
    }

    fn alarm<S: DirectoryStore>(&mut self, now: u64, store: &mut S, out: &mut Vec<Output>) {
        self.armed = None;
        let Ok(running) = self.running(store) else {
            return self.wake_at(now + limits::ORDER_LEASE_MS, out);
        };
        let is_old = |running: &Running| now >= running.order.at + limits::ORDER_AGE_MAX_MS;
        let (old, young) = core::mem::take(running).into_iter().partition(is_old);
        *running = young;
        for running in running.iter_mut() {
            running.retry_at.take_if(|at| *at <= now);
        }
        let old: Vec<Running> = old;
        for mut given_up in old {
            given_up.answer(false, out);
            out.push(Output::GaveUp { objects: given_up.queue.len() + given_up.failed.len() + given_up.under_way });
            // A row that cannot be deleted is found again after the next waking, as old as it is.
            let _ = store.done(&given_up.order.user);
        }
        let due = self.running.iter().flatten().map(|running| running.retry_at.unwrap_or(now + limits::ORDER_LEASE_MS));
        if let Some(at) = due.min() {
            // Whatever the reason, an object is woken once a second at most.
            self.wake_at(at.max(now + 1000), out);
        }
    }

    /// Begins as many calls as may be, and ends what is done.
    fn go_on<S: DirectoryStore>(&mut self, now: u64, store: &mut S, out: &mut Vec<Output>) {
        let Some(mut all) = self.running.take() else { return };
        for running in &mut all {
            while self.under_way.len() < limits::ORDER_CALLS_AT_ONCE {
                let Some(target) = running.next(store) else { break };
                running.under_way += 1;
                let (call, holder) = (self.calls, target.holder.clone());
                self.calls += 1;
                self.under_way.insert(call, Call { order: running.order.clone(), target });
                out.push(Output::Call { call, holder, user: running.order.user.clone() });
            }
        }
        let has_room = self.under_way.len() < limits::ORDER_CALLS_AT_ONCE;
        let mut due = None;
        all.retain_mut(|running| {
            // An order that cannot be ended now is ended by its next round.
            if running.is_done() && store.done(&running.order.user).is_ok() {
                running.answer(true, out);
                return false;
            }
            if running.is_idle() && has_room {
                let at = running.again_later(now, out);
                due = Some(due.map_or(at, |due: u64| due.min(at)));
            }
            true
        });
        self.running = Some(all);
        if let Some(at) = due {
            self.wake_at(at, out);
        }
    }

    fn wake_at(&mut self, at: u64, out: &mut Vec<Output>) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            out.push(Output::WakeAt(at));
        }
    }
}
