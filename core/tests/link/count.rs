//! How many subscribers a channel has, where its rule asks for that: what is true, and what those who speak Pusher's protocol have been told.

use super::network::{Body, Call, Caller, Party, hub_named};
use super::world::{ROOMS, World};
use dormouse_core::limits;

/// Within that time after the weather has cleared all have been told: what failed before is tried again.
pub(super) const BOUND_MS: u64 = limits::DELIVERY_RETRY_MAX_MS + limits::COUNT_RETRY_MS + 5_000;

impl World {
    pub(super) fn counts(&self, nth: usize) -> bool {
        self.rooms[nth].rule.subscription_count
    }

    pub(super) fn is_counting(&self) -> bool {
        (0..ROOMS).any(|nth| self.counts(nth))
    }

    pub(super) fn subscribers(&self, nth: usize) -> u64 {
        let clients = (0..self.wants.len()).filter(|who| self.has(*who, nth)).count();
        (self.rooms[nth].guests.len() + clients) as u64
    }

    /// Whether a change may have gone by unheard: nothing is written for it. The Room lost its memory and has told nobody since; or a Hub lost its sockets with its memory, and has
    /// not been heard of since.
    fn has_to_change(&self, nth: usize) -> bool {
        let side = &self.rooms[nth];
        side.uncounted || side.unheard.iter().any(|hub| side.store.followers.contains_key(hub))
    }

    /// A Hub loses its memory with what it had to say.
    pub(super) fn hub_is_unheard(&mut self, hub: usize) {
        for side in &mut self.rooms {
            side.unheard.insert(hub_named(hub));
        }
    }

    /// A Hub says how many sockets it has. One that has lost its memory since it called may say something else by now, and it is asked about a call to follow with the next message.
    pub(super) fn room_hears_of(&mut self, nth: usize, call: &Call) {
        let (Body::Follow { follow, .. } | Body::Tally { follow, .. }) = &call.body else { return };
        let lives = |caller: Caller| matches!(caller.party, Party::Hub(hub) if self.hubs[hub].life == caller.life);
        let is_known = self.rooms[nth].store.followers.contains_key(&follow.hub);
        if call.caller.is_some_and(lives) {
            self.rooms[nth].unheard.remove(&follow.hub);
        } else if !is_known {
            self.rooms[nth].unheard.insert(follow.hub.clone());
        }
    }

    /// Then the next message finds the Hub, and the next change has everybody asked.
    pub(super) fn somebody_comes(&mut self) -> Result<(), String> {
        for nth in 0..ROOMS {
            let is_told = self.pushers.iter().any(|pusher| pusher.has(nth));
            if !self.counts(nth) || !is_told {
                continue;
            }
            if self.has_to_change(nth) {
                self.publishes(nth)?;
                self.a_guest_comes(nth)?;
            } else {
                self.tally.counted += 1;
            }
        }
        Ok(())
    }

    pub(super) fn everybody_can_count(&self) -> Result<(), String> {
        for nth in (0..ROOMS).filter(|nth| self.counts(*nth)) {
            let truth = self.subscribers(nth);
            for (who, pusher) in self.pushers.iter().enumerate().filter(|(_, pusher)| pusher.has(nth)) {
                let told = pusher.channels[nth].count;
                if told != Some(truth) {
                    return Err(format!("channel {nth} has {truth} subscribers, pusher {who} was told {told:?}"));
                }
            }
        }
        Ok(())
    }
}
