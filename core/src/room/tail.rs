//! The newest messages, in memory: what came while a follower's delivery was on its way. Of an ephemeral channel there is nothing else to take it from.

use crate::limits;
use crate::message::Message;
use std::collections::VecDeque;

/// Messages up to the log's end, without a hole.
#[derive(Debug, Default)]
pub(super) struct Tail {
    /// The `seq` of the first.
    first: u64,
    messages: VecDeque<Message>,
    bytes: usize,
}

impl Tail {
    /// Appends what comes after `before`. It is not cut here: what has just been written is delivered first.
    pub(super) fn push(&mut self, before: u64, messages: &[Message]) {
        if self.first + self.messages.len() as u64 != before + 1 {
            *self = Self { first: before + 1, ..Self::default() };
        }
        self.bytes += messages.iter().map(Message::bytes).sum::<usize>();
        self.messages.extend(messages.iter().cloned());
    }

    /// Cuts it to its bounds, from the oldest on.
    pub(super) fn cut(&mut self) {
        while self.bytes > limits::TAIL_BYTES || self.messages.len() > limits::TAIL_MESSAGES {
            let Some(oldest) = self.messages.pop_front() else { return };
            self.bytes -= oldest.bytes();
            self.first += 1;
        }
    }

    /// The `seq` of the oldest message in it.
    pub(super) fn first(&self) -> Option<u64> {
        (!self.messages.is_empty()).then_some(self.first)
    }

    /// Messages from `seq` on, until there are `bytes` of them; `None` if it does not reach back so far.
    pub(super) fn read(&self, seq: u64, bytes: usize) -> Option<Vec<Message>> {
        let skipped = usize::try_from(seq.checked_sub(self.first()?)?).ok()?;
        let mut taken = 0;
        let within = |message: &&Message| {
            let fits = taken < bytes;
            taken += message.bytes();
            fits
        };
        Some(self.messages.iter().skip(skipped).take_while(within).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::Tail;
    use crate::limits;
    use crate::message::{Message, Payload};

    fn messages(count: usize, bytes: usize) -> Vec<Message> {
        (0..count).map(|_| Message::new(None, Payload::Text("x".repeat(bytes)), None)).collect()
    }

    #[test]
    fn it_is_bounded_by_count_and_by_bytes_and_keeps_the_newest() {
        let mut tail = Tail::default();
        tail.push(0, &messages(limits::TAIL_MESSAGES + 5, 1));
        tail.cut();
        assert_eq!((tail.first(), tail.read(5, 100)), (Some(6), None));
        assert_eq!(tail.read(6, usize::MAX).map(|read| read.len()), Some(limits::TAIL_MESSAGES));
        let head = limits::TAIL_MESSAGES as u64 + 5;
        tail.push(head, &messages(3, limits::TAIL_BYTES / 2));
        tail.cut();
        assert_eq!(tail.first(), Some(head + 3), "with what is counted beside its bytes, two do not fit");
    }

    #[test]
    fn a_batch_ends_after_the_message_that_fills_it() {
        let mut tail = Tail::default();
        tail.push(7, &messages(4, 92));
        assert_eq!(tail.read(8, 101).map(|read| read.len()), Some(2));
        assert_eq!(tail.read(8, 1).map(|read| read.len()), Some(1));
        assert_eq!(tail.read(12, 1), Some(Vec::new()), "the end");
    }

    #[test]
    fn a_hole_empties_it() {
        let mut tail = Tail::default();
        tail.push(0, &messages(2, 1));
        tail.push(5, &messages(1, 1));
        assert_eq!((tail.first(), tail.read(2, 1)), (Some(6), None));
        assert_eq!(Tail::default().first(), None);
    }
}
