//! Who may read the members of a channel, and which page of them.

use super::connect::Guest;
use super::number;
use crate::channel::ChannelName;
use crate::config::Config;
use crate::credentials::identify;
use crate::head::Head;
use crate::limits;
use crate::refusal::{Code, Refusal};
use crate::room::MembersQuery;

/// A reader who may read the members of a channel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MembersAdmission {
    /// The app's id.
    pub app: String,
    /// The page.
    pub query: MembersQuery,
    /// The value of `Access-Control-Allow-Origin`: for pages that read with a token of their own.
    pub allow_origin: Option<String>,
}

/// Lets in an origin server with the app's credentials, or a client with a token by which it may join the channel. `now_s` is in seconds.
pub fn admit_members(
    config: &Config,
    channel: &ChannelName,
    head: &Head<'_>,
    now_s: u64,
) -> Result<MembersAdmission, Refusal> {
    if !channel.has_members() {
        return Err(Refusal::new(Code::InvalidChannel, "only presence channels have members: presence-…"));
    }
    let (app, allow_origin) = if head.query("token").is_some_and(|token| !token.is_empty()) {
        let guest = Guest::check(config, head, now_s)?;
        guest.may_join(channel)?;
        (guest.app, guest.allow_origin)
    } else {
        (identify(config, head, now_s)?.prove(head, b"")?, None)
    };
    let limit = match head.query("limit") {
        None => limits::MEMBERS_PAGE_DEFAULT,
        Some(limit) => number(&limit, 1, limits::MEMBERS_PAGE_MAX)
            .ok_or_else(|| Refusal::new(Code::InvalidField, format!("limit: 1 to {}", limits::MEMBERS_PAGE_MAX)))?,
    };
    let after = head.query("after").map(std::borrow::Cow::into_owned);
    if after.as_ref().is_some_and(|after| after.chars().count() > limits::USER_ID_MAX) {
        let message = format!("after: a user, {} characters at most", limits::USER_ID_MAX);
        return Err(Refusal::new(Code::InvalidField, message));
    }
    Ok(MembersAdmission { app: app.id.clone(), query: MembersQuery { after, limit }, allow_origin })
}

#[cfg(test)]
mod tests {
    use super::admit_members;
    use crate::channel::ChannelName;
    use crate::config::Config;
    use crate::head::Head;
    use crate::refusal::Code;
    use crate::room::MembersQuery;

    #[test]
    fn the_app_and_who_may_join_read_pages() {
        let config =
            Config::parse(r#"[{"id":"1","key":"k","secrets":["0123456789abcdef"],"origins":["https://example.com"]}]"#)
                .unwrap();
        let token = jwt(r#"{"sub":"7","exp":4102444800,"channels":{"presence-a":["sub"]}}"#);
        let ask = |channel: &str, query: &str, basic: bool, origin: Option<&'static str>| {
            let header = move |name: &str| match name {
                "authorization" if basic => Some("Basic azowMTIzNDU2Nzg5YWJjZGVm".to_owned()),
                "origin" => origin.map(str::to_owned),
                _ => None,
            };
            let head = Head { method: "GET", path: "/", query, header: &header };
            let admitted = admit_members(&config, &ChannelName::parse(channel).unwrap(), &head, 1_000);
            admitted.map(|it| (it.query, it.allow_origin)).map_err(|refusal| refusal.code)
        };
        let page = |after: Option<&str>, limit| MembersQuery { after: after.map(str::to_owned), limit };
        assert_eq!(ask("presence-a", "", true, None), Ok((page(None, 100), None)));
        assert_eq!(ask("presence-a", "after=%C3%A4&limit=7", true, None), Ok((page(Some("ä"), 7), None)));
        let good = format!("token={token}&limit=1000");
        let origin = Some("https://example.com");
        assert_eq!(ask("presence-a", &good, false, origin), Ok((page(None, 1_000), origin.map(str::to_owned))));
        for (channel, query, basic, origin, code) in [
            ("lobby", "", true, None, Code::InvalidChannel),
            ("presence-a", "", false, None, Code::Unauthorized),
            ("presence-a", "token=x", false, None, Code::Unauthorized),
            ("presence-b", good.as_str(), false, None, Code::Forbidden),
            ("presence-a", good.as_str(), false, Some("https://example.org"), Code::Forbidden),
            ("presence-a", "limit=0", true, None, Code::InvalidField),
            ("presence-a", "limit=1001", true, None, Code::InvalidField),
            ("presence-a", &format!("after={}", "x".repeat(129)), true, None, Code::InvalidField),
        ] {
            assert_eq!(ask(channel, query, basic, origin), Err(code), "{channel} {query}");
        }
    }

    fn jwt(claims: &str) -> String {
        use base64::Engine;
        use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
        use hmac::{Hmac, Mac};
        let text = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#), BASE64.encode(claims));
        let mac = Hmac::<sha2::Sha256>::new_from_slice(b"0123456789abcdef").unwrap().chain_update(&text);
        format!("{text}.{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}
