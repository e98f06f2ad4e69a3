//! Where a tab was before. Its pointer is a channel of its own, in which the last message is the id of the connection that had it last; the Hub in which that was has its row,
//! and a row that the pointer does not mean is of the past. So what is told is never from a row that was overtaken.

use super::Tabs;
use crate::call::{Begin, Outcome};
use crate::channel::ChannelName;
use crate::close::Holder;
use crate::connection::ConnectionId;
use crate::hub::{Hub, Output, Slot, Stage};
use crate::link::Delivery;
use crate::message::{Message, NewMessage, Payload};
use crate::position::Position;
use crate::pusher::words;
use crate::refusal::{Code, Refusal};
use crate::resume::{Held, ResumeId, TakeOver};

/// The id of a pointer's first message: a second one of it is refused.
const FIRST: &str = "first";

/// How far it is with a tab of which it is being found out what it has.
#[derive(Debug)]
pub(super) struct Settling {
    slot: Slot,
    step: Step,
    /// Where the pointer was when it was asked: it is moved only from there.
    at: Option<Position>,
}

#[derive(PartialEq, Eq, Debug)]
enum Step {
    /// The pointer was asked.
    Asked,
    /// The Hub was asked that it names.
    Fetching,
    /// The pointer is being moved here.
    Moving,
}

impl Tabs {
    /// The slot of the tab with that pointer, if that is the step that it waits for.
    fn settling_at(&self, pointer: &ChannelName, step: &Step) -> Option<Slot> {
        self.settling.get(pointer).filter(|settling| settling.step == *step).map(|settling| settling.slot)
    }
}

impl Hub {
    /// Asks where a tab was. One request for one that comes back to its Hub; for a new one another, and a row in its pointer's Room; for one that was in another Hub one to that,
    /// too, which deletes a row.
    pub(super) fn ask_pointer(&mut self, slot: Slot) {
        let Some(session) = self.session(slot).filter(|session| session.is_settling()) else { return };
        let Some(tab) = &session.tab else { return };
        let channel = ChannelName::pointer(&tab.id);
        self.tabs.settling.insert(channel.clone(), Settling { slot, step: Step::Asked, at: None });
        self.calls.add(Output::Missed { channel, from: Begin::Last(1) });
    }

    /// What the pointer says.
    pub(in crate::hub) fn pointed(
        &mut self,
        pointer: &ChannelName,
        result: &Result<Delivery, Refusal>,
        out: &mut Vec<Output>,
    ) {
        let Some(slot) = self.tabs.settling_at(pointer, &Step::Asked) else { return };
        let delivery = match result {
            Ok(delivery) => delivery,
            Err(refusal) => return Self::send_away(slot, refusal, out),
        };
        // An empty log has another epoch whenever it is looked at: there its first message can only be one.
        let at = delivery.messages.last().map(|_| delivery.position());
        let said = delivery.messages.last().and_then(|message| match &message.payload {
            Payload::Json(text) => serde_json::from_str::<String>(text).ok(),
            _ => None,
        });
        let (app, Some(session)) = (self.app.id.clone(), self.session(slot)) else { return };
        let here = holder(&session.connection, &app);
        let there = said.as_ref().map(|tag| holder(tag, &app));
        let Some(tab) = self.session_mut(slot).and_then(|session| session.tab.as_mut()) else { return };
        let is_known = !tab.tag.is_empty() || !tab.claims.is_empty() || tab.lost;
        match (said, there) {
            // A tab that nobody has seen.
            (None, _) if !is_known => self.move_pointer(pointer, slot, at),
            (Some(tag), _) if tag == tab.tag => self.settle(pointer, slot, out),
            (Some(tag), Some(Some(hub))) if there_is_another(Some(&hub), here.as_ref()) => {
                (tab.claims, tab.lost) = (Vec::new(), true);
                let id = tab.id.clone();
                self.tabs.settling.insert(pointer.clone(), Settling { slot, step: Step::Fetching, at });
                self.calls.add(Output::Fetch { hub, id, tag });
            }
            _ => {
                (tab.claims, tab.lost) = (Vec::new(), true);
                self.move_pointer(pointer, slot, at);
            }
        }
    }

    /// What another Hub knew of a tab. Where it cannot be reached, something is lost: what it knows is not meant by the pointer any more.
    pub(in crate::hub) fn fetched(
        &mut self,
        id: &ResumeId,
        tag: &str,
        result: Result<Option<Held>, Refusal>,
        out: &mut Vec<Output>,
    ) {
        let pointer = ChannelName::pointer(id);
        let Some(slot) = self.tabs.settling_at(&pointer, &Step::Fetching) else { return };
        let at = self.tabs.settling.get(&pointer).and_then(|settling| settling.at);
        let Some(session) = self.session_mut(slot) else { return };
        let held = result.ok().flatten().filter(|held| held.tag == tag).unwrap_or_else(Held::nothing);
        if let Some(tab) = &mut session.tab {
            (tab.claims, tab.lost) = (held.claims, held.lost);
            tab.was = held.was;
        }
        session.fit_claims();
        self.remember(slot, out);
        self.move_pointer(&pointer, slot, at);
    }

    /// Nothing is answered before the pointer means this connection: a tab that nobody finds again would miss something without a word.
    /// One that was overtaken on its way moves it no more.
    fn move_pointer(&mut self, pointer: &ChannelName, slot: Slot, at: Option<Position>) {
        let Some(session) = self.session_mut(slot) else { return };
        let connection = session.connection.clone();
        if let Some(tab) = &mut session.tab {
            tab.tag.clone_from(&connection);
        }
        self.tabs.settling.insert(pointer.clone(), Settling { slot, step: Step::Moving, at });
        let first = at.is_none().then(|| FIRST.to_owned());
        let message = Message::new(None, Payload::Json(format!("\"{connection}\"")), first);
        let new = NewMessage { if_position: at, ..NewMessage::from(message) };
        self.calls.add(Output::Publish { channel: pointer.clone(), messages: vec![new] });
    }

    /// What became of that.
    pub(in crate::hub) fn pointer_moved(
        &mut self,
        pointer: &ChannelName,
        result: &Result<Vec<Outcome>, Refusal>,
        out: &mut Vec<Output>,
    ) {
        let Some(slot) = self.tabs.settling_at(pointer, &Step::Moving) else { return };
        let refusal = match result.as_ref().map(|outcomes| outcomes.first()) {
            Ok(Some(Outcome::Stored { .. })) => return self.settle(pointer, slot, out),
            Ok(Some(Outcome::Refused { error })) | Err(error) => error.clone(),
            Ok(None) => Refusal::new(Code::Internal, "the tab could not be noted: come back"),
        };
        Self::send_away(slot, &refusal, out);
    }

    /// It may come back in a second, whatever the refusal is: that is the pointer's, and not the tab's.
    fn send_away(slot: Slot, refusal: &Refusal, out: &mut Vec<Output>) {
        out.push(Output::Close { slot, code: words::COME_BACK, reason: refusal.code.name() });
    }

    /// Now it is known what the tab has: what it has asked for meanwhile begins. One row, unless it is new: what was sent to it is not known any more as soon as it gets something.
    fn settle(&mut self, pointer: &ChannelName, slot: Slot, out: &mut Vec<Output>) {
        self.tabs.settling.remove(pointer);
        let Some(session) = self.session_mut(slot) else { return };
        let Some(tab) = &mut session.tab else { return };
        tab.settling = false;
        let is_known = !tab.claims.is_empty() || tab.lost;
        let wanted: Vec<ChannelName> = session.subscriptions.iter().map(|one| one.channel.clone()).collect();
        for channel in &wanted {
            let Some(stage) = session.subscription(channel).map(|one| one.stage) else { continue };
            let Stage::Joining(from) = stage else { continue };
            let (from, acked) = session.claim(channel, from);
            if let Some(subscription) = session.subscription_mut(channel) {
                (subscription.stage, subscription.acked) = (Stage::Joining(from), acked);
            }
        }
        if is_known {
            self.tabs.rows.insert(slot);
        }
        self.remember(slot, out);
        for channel in wanted {
            self.advance(slot, &channel, out);
        }
    }

    /// Another Hub asks for a tab. `held`: what the driver has kept of it, if it has no connection here. One row deleted.
    pub fn hand_over(&mut self, asked: &TakeOver, held: Option<Held>, now: u64, out: &mut Vec<Output>) -> Option<Held> {
        self.now = now;
        let begin = out.len();
        let open = self.tabs.slots.get(&asked.id).copied();
        let is_meant = |slot: &Slot| {
            let tab = self.session(*slot).and_then(|session| session.tab.as_ref());
            tab.is_some_and(|tab| tab.tag == asked.tag)
        };
        let held = match open {
            Some(slot) if is_meant(&slot) => self.release(slot, out),
            Some(_) => None,
            None => held.filter(|held| held.tag == asked.tag),
        };
        if held.is_some() {
            out.push(Output::LetGo { id: asked.id.clone() });
        }
        self.report_all(out);
        self.look_after_tabs(begin, out);
        self.calls.start(out);
        held
    }
}

/// The Hub that a connection's id names.
fn holder(connection: &str, app: &str) -> Option<String> {
    match ConnectionId::parse(connection).ok()?.holder(app) {
        Holder::Hub(hub) => Some(hub),
        Holder::Channel(_) => None,
    }
}

fn there_is_another(there: Option<&String>, here: Option<&String>) -> bool {
    there.is_some() && there != here
}
