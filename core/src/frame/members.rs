//! The `plain` dialect: what is said about the members of a presence channel. Its wire strings stand here only.

use super::Frame;
use crate::channel::ChannelName;
use crate::limits;
use crate::presence::{Joined, Left, Member};
use crate::session::Format;
use serde::Serialize;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Out<'a> {
    Members {
        channel: &'a str,
        count: u64,
        members: &'a [Member],
        #[serde(skip_serializing_if = "core::ops::Not::not")]
        more: bool,
    },
    Presence {
        channel: &'a str,
        count: u64,
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        left: &'a [&'a str],
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        joined: &'a [&'a Member],
    },
}

/// Who is there, as a connection is told that has just come, or whose knowledge is out of date; of many only the first. `None` where the format has no words for it.
#[must_use]
pub fn members(channel: &ChannelName, format: Format, count: u64, list: &[Member]) -> Option<Frame> {
    let more = (list.len() as u64) < count;
    frame(format, "members", &Out::Members { channel: channel.as_str(), count, members: list, more })
}

/// Who has gone and who has come; of many in several frames, what `left` says first. Empty where the format has no words for it.
#[must_use]
pub fn changes(channel: &ChannelName, format: Format, count: u64, left: &[&Left], joined: &[&Joined]) -> Vec<Frame> {
    let channel = channel.as_str();
    let users: Vec<&str> = left.iter().map(|left| left.user.as_str()).collect();
    let members: Vec<&Member> = joined.iter().map(|joined| &joined.member).collect();
    if users.len() + members.len() <= limits::MEMBERS_PER_FRAME {
        let nothing = users.is_empty() && members.is_empty();
        let out = Out::Presence { channel, count, left: &users, joined: &members };
        return if nothing { Vec::new() } else { frame(format, "presence", &out).into_iter().collect() };
    }
    let gone = users.chunks(limits::MEMBERS_PER_FRAME).map(|left| Out::Presence { channel, count, left, joined: &[] });
    let come =
        members.chunks(limits::MEMBERS_PER_FRAME).map(|joined| Out::Presence { channel, count, left: &[], joined });
    gone.chain(come).filter_map(|out| frame(format, "presence", &out)).collect()
}

fn frame(format: Format, name: &str, out: &Out<'_>) -> Option<Frame> {
    // Pusher's words are others.
    if format.is_raw() || format == Format::Pusher {
        return None;
    }
    let text = serde_json::to_string(out).ok()?;
    Some(Frame::Text(if format.is_stream() { crate::stream::named(name, &text) } else { text }))
}

#[cfg(test)]
mod tests {
    use super::{changes, members};
    use crate::channel::ChannelName;
    use crate::frame::Frame;
    use crate::presence::{Joined, Left, Member, MemberData};
    use crate::session::Format;

    fn text(frame: &Frame) -> &str {
        match frame {
            Frame::Text(text) => text,
            Frame::Binary(_) => "",
        }
    }

    #[test]
    fn the_wire_strings() {
        let channel = ChannelName::parse("presence-a").unwrap();
        let member = Member { user: "7\"".into(), data: Some(MemberData::parse("{ }").unwrap()) };
        let other = Member { user: "8".into(), data: None };
        let list = [member.clone(), other];
        assert_eq!(
            text(&members(&channel, Format::Many, 2, &list).unwrap()),
            r#"{"type":"members","channel":"presence-a","count":2,"members":[{"user":"7\"","data":{ }},{"user":"8"}]}"#
        );
        assert_eq!(
            text(&members(&channel, Format::Stream, 3, &[]).unwrap()),
            "event: members\ndata: {\"type\":\"members\",\"channel\":\"presence-a\",\"count\":3,\"members\":[],\"more\":true}\n\n"
        );
        assert_eq!(members(&channel, Format::Raw, 2, &list), None);
        let (left, joined) = (Left { at: 1, user: "9".into() }, Joined { at: 2, member });
        let frames = changes(&channel, Format::Json, 1, &[&left], &[&joined]);
        assert_eq!(
            frames.iter().map(text).collect::<Vec<_>>(),
            [
                r#"{"type":"presence","channel":"presence-a","count":1,"left":["9"],"joined":[{"user":"7\"","data":{ }}]}"#
            ]
        );
        assert!(changes(&channel, Format::Json, 1, &[], &[]).is_empty());
        assert!(changes(&channel, Format::RawStream, 1, &[&left], &[]).is_empty());
    }

    #[test]
    fn many_changes_are_several_frames_and_who_left_comes_first() {
        let channel = ChannelName::parse("presence-a").unwrap();
        let joined: Vec<Joined> =
            (0..1_200).map(|at| Joined { at, member: Member { user: at.to_string(), data: None } }).collect();
        let left = Left { at: 1, user: "0".into() };
        let frames = changes(&channel, Format::Json, 1_200, &[&left], &joined.iter().collect::<Vec<_>>());
        assert_eq!(frames.len(), 4);
        assert!(text(&frames[0]).contains("\"left\":[\"0\"]") && text(&frames[1]).contains("joined"));
        assert_eq!(frames.iter().map(|frame| text(frame).matches("\"user\"").count()).sum::<usize>(), 1_200);
    }
}
