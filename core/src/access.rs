//! Who may have a channel: the same at the door and in a Hub.

use crate::channel::ChannelName;
use crate::config::App;
use crate::refusal::{Code, Refusal};
use crate::token::{Grant, Grants};

/// Whether somebody may join a channel, and if so, whether they may publish. `grants` is what a token says, if there was one, and `user` whose it is.
pub(crate) fn may_join(
    app: &App,
    channel: &ChannelName,
    user: Option<&str>,
    grants: Option<&Grants>,
) -> Result<bool, Refusal> {
    let rule = app.rule(channel);
    if !channel.needs_token() && channel.user().is_none() {
        return Ok(rule.publish);
    }
    let Some(grants) = grants else {
        let message = "this channel needs a token: Sec-WebSocket-Protocol: dormouse, bearer.<jwt> or ?token=, or `token` in a subscribe";
        return Err(Refusal::new(Code::Unauthorized, message));
    };
    match channel.user() {
        // Only its origin speaks to a user.
        Some(owner) if user == Some(owner) => Ok(false),
        Some(_) => {
            Err(Refusal::new(Code::Forbidden, "a user's channel is for that user: the token's `sub` is another"))
        }
        None if channel.has_members() && user.is_none() => {
            Err(Refusal::new(Code::Forbidden, "a presence channel is for users: the token has no `sub`"))
        }
        None if grants.allow(channel, Grant::Sub) => Ok(rule.publish && grants.allow(channel, Grant::Pub)),
        None => Err(Refusal::new(Code::Forbidden, "the token does not grant `sub` for this channel")),
    }
}

#[cfg(test)]
mod tests {
    use super::may_join;
    use crate::channel::ChannelName;
    use crate::config::Config;
    use crate::refusal::Code;
    use crate::token::Grants;

    #[test]
    fn only_who_may_joins() {
        let apps = r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"channels":[{"publish":true}]}]"#;
        let config = Config::parse(apps).unwrap();
        let app = config.app(None).unwrap();
        let grants: Grants = serde_json::from_str(
            r##"{"private-a":["sub"],"private-b":["sub","pub"],"presence-b":["sub","pub"],"#server-to-user-*":["sub","pub"]}"##,
        )
        .unwrap();
        let none = Grants::default();
        for (channel, user, grants, expected) in [
            ("a", None, None, Ok(true)),
            ("private-a", None, None, Err(Code::Unauthorized)),
            ("private-a", None, Some(&none), Err(Code::Forbidden)),
            ("private-a", None, Some(&grants), Ok(false)),
            ("private-b", None, Some(&grants), Ok(true)),
            ("presence-a", Some("u"), Some(&grants), Err(Code::Forbidden)),
            ("presence-b", None, Some(&grants), Err(Code::Forbidden)),
            ("presence-b", Some("u"), Some(&grants), Ok(true)),
            ("#server-to-user-u", None, None, Err(Code::Unauthorized)),
            ("#server-to-user-u", None, Some(&grants), Err(Code::Forbidden)),
            ("#server-to-user-u", Some("v"), Some(&grants), Err(Code::Forbidden)),
            ("#server-to-user-u", Some("u"), Some(&none), Ok(false)),
        ] {
            let joined = may_join(app, &ChannelName::parse(channel).unwrap(), user, grants);
            assert_eq!(joined.map_err(|refusal| refusal.code), expected, "{channel} {user:?}");
        }
    }
}
