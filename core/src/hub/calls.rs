//! The Hub's calls to Rooms: so many at once, the others in turn.

use super::Output;
use crate::limits;
use crate::refusal::{Code, Refusal};
use std::collections::VecDeque;

/// Calls that wait, and how many are on their way. Each channel has at most one call to follow, one to publish, one to report, and one for each position that somebody begins
/// at; who asks for more when many wait is refused.
#[derive(Debug, Default)]
pub(super) struct Calls {
    waiting: VecDeque<Output>,
    under_way: usize,
}

impl Calls {
    /// Whether there are so many that nobody may ask for more; what has to be done for those who are there already still is.
    pub(super) fn check(&self) -> Result<(), Refusal> {
        if self.waiting.len() < limits::HUB_CALLS_MAX {
            return Ok(());
        }
        Err(Refusal::new(Code::Overloaded, "this hub has too much to ask: try again in a second"))
    }

    pub(super) fn add(&mut self, call: Output) {
        self.waiting.push_back(call);
    }

    /// The outcome of one has come.
    pub(super) fn ended(&mut self) {
        self.under_way = self.under_way.saturating_sub(1);
    }

    /// Starts as many as may be.
    pub(super) fn start(&mut self, out: &mut Vec<Output>) {
        while self.under_way < limits::HUB_CALLS_AT_ONCE {
            let Some(call) = self.waiting.pop_front() else { return };
            self.under_way += 1;
            out.push(call);
        }
    }
}
