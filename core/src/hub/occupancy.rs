//! What the Directory is told of a Hub: whether it has sockets. And how many of them want a channel.

use super::{Hub, Output};
use crate::directory::{HubCount, HubCounts};
use crate::limits;
use crate::occupancy::{Occupancy, Tell};

impl Hub {
    pub(super) fn state(&self) -> Occupancy {
        Occupancy::of(self.sessions.len() > self.free.len(), false)
    }

    /// The first socket has come: one request, unless the Directory knows.
    pub(super) fn occupied(&mut self, out: &mut Vec<Output>) {
        let tell = self.reporter.rise(Occupancy::Held, self.now);
        Self::tell_directory(tell, out);
    }

    /// It stands for one whose calls were under way, and that one's report may have been among them: the next alarm may be a day ahead. One request; no row where the Directory knows.
    pub(super) fn occupied_still(&mut self, out: &mut Vec<Output>) {
        if self.state() == Occupancy::Held {
            self.look_around(&mut Vec::new(), out);
        }
    }

    /// When the last one has gone, the alarm looks again a little later: one row.
    pub(super) fn look_if_deserted(&mut self, out: &mut Vec<Output>) {
        if self.state() == Occupancy::Vacant
            && let Some(at) = self.reporter.fall(Occupancy::Held, self.now)
        {
            self.wake_at(at, out);
        }
    }

    /// By alarm.
    pub(super) fn look_around(&mut self, due: &mut Vec<u64>, out: &mut Vec<Output>) {
        let tell = self.reporter.look(self.state(), self.now, !self.presence.is_empty(), due);
        Self::tell_directory(tell, out);
    }

    /// What became of a report.
    pub(super) fn registered(&mut self, report: (u64, Occupancy), answer: Option<u64>, out: &mut Vec<Output>) {
        let (tell, look_at) = self.reporter.told(report, answer, self.now);
        Self::tell_directory(tell, out);
        if let Some(at) = look_at {
            self.wake_at(at, out);
        }
    }

    /// How many sockets want each of these channels. Nothing written.
    #[must_use]
    pub fn count(&self, asked: &HubCount) -> HubCounts {
        let channels = asked.channels.iter().take(usize::try_from(limits::CHANNELS_PAGE_MAX).unwrap_or_default());
        let known = channels.map(|channel| self.channels.get(channel));
        let count = known.map(|known| known.map_or(0, |known| known.live.len() + known.waiting.len()));
        HubCounts { connections: count.map(|count| count as u64).collect() }
    }

    fn tell_directory(tell: Option<Tell>, out: &mut Vec<Output>) {
        if let Some(Tell { state, at, again }) = tell {
            out.push(Output::Register { state, at, again });
        }
    }
}
