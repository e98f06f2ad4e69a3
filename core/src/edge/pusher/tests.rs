use super::{Action, Call, caller, channel_query, channels_query, is_pushers, text, trigger, users_query};
use crate::call::Outcome;
use crate::channel::ChannelName;
use crate::config::{App, Config};
use crate::directory::{Count, Entry, HubCounts, Listed, Newest};
use crate::edge::channels::Tally;
use crate::edge::{Route, Target, route};
use crate::head::Head;
use crate::limits;
use crate::message::Payload;
use crate::position::Epoch;
use crate::refusal::{Code, Refusal};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

fn config() -> Config {
    let apps = r#"[{"id":"1","key":"k","secrets":["secret-number-one-"],"channels":[{"prefix":"tiny","message_bytes":4}]},
        {"id":"2","key":"off","secrets":["secret-number-two-"],"directory":false}]"#;
    Config::parse(apps).unwrap()
}

fn app() -> App {
    config().app_by_id("1").unwrap().clone()
}

fn name(name: &str) -> ChannelName {
    ChannelName::parse(name).unwrap()
}

fn with_head<T>(method: &str, path: &str, query: &str, use_it: impl FnOnce(&Head<'_>) -> T) -> T {
    let none = |_: &str| None;
    use_it(&Head { method, path, query, header: &none })
}

fn to(method: &str, path: &str) -> Result<Action, Code> {
    match with_head(method, path, "", route) {
        Ok(Route::Pusher(call)) => Ok(call.action),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    }
}

#[test]
fn every_action_has_its_path_and_its_method() {
    for (method, path, action) in [
        ("POST", "/apps/1/events", Action::Events),
        ("POST", "/apps/1/batch_events", Action::BatchEvents),
        ("GET", "/apps/1/channels", Action::Channels),
        ("HEAD", "/apps/1/channels", Action::Channels),
        ("GET", "/apps/1/channels/presence-a%3Bb", Action::Channel(name("presence-a;b"))),
        ("GET", "/apps/1/channels/%23server-to-user-7", Action::Channel(name("#server-to-user-7"))),
        ("GET", "/apps/1/channels/presence-a/users", Action::Users(name("presence-a"))),
        ("POST", "/apps/1/users/a%2F%C3%A4/terminate_connections", Action::Terminate("a/ä".into())),
    ] {
        assert_eq!(to(method, path), Ok(action), "{path}");
        assert!(is_pushers(path));
        let other = if method == "POST" { "GET" } else { "POST" };
        assert_eq!(to(other, path), Err(Code::MethodNotAllowed), "{path}");
    }
    for path in
        ["/apps/1/", "/apps/1/event", "/apps/1/events/a", "/apps/1/channels/a/b", "/apps/1/users", "/apps/1/users/a"]
    {
        assert_eq!((to("GET", path), to("POST", path)), (Err(Code::NotFound), Err(Code::NotFound)), "{path}");
    }
    for path in ["/apps/1/channels/", "/apps/1/channels/a%2Fb", "/apps/1/channels/%C3%A4/users"] {
        assert_eq!(to("GET", path), Err(Code::InvalidChannel), "{path}");
    }
    assert_eq!(to("POST", "/apps/1/users//terminate_connections"), Err(Code::InvalidField));
    // Who connects may do so behind any path.
    assert!(matches!(with_head("GET", "/apps/1/app/k", "", route), Ok(Route::App(app)) if app.key == "k"));
    assert!(matches!(to("GET", "/apps/1/channels/app/users"), Ok(Action::Users(_))));
    for path in ["/apps", "/apps/1", "/app/k", "/publish"] {
        assert!(!is_pushers(path));
        assert_eq!(with_head("GET", "/apps", "", route), Ok(Route::Page));
    }
}

#[test]
fn a_call_is_for_the_app_of_its_path() {
    let config = config();
    let call = |app: &str| Call { app: app.into(), action: Action::Channels };
    let ask = |app: &str, credentials: &str, query: &str| {
        let header = |asked: &str| {
            (asked == "authorization" && !credentials.is_empty())
                .then(|| format!("Basic {}", STANDARD.encode(credentials)))
        };
        let head = Head { method: "GET", path: "/apps/1/channels", query, header: &header };
        let publisher = caller(&config, &call(app), &head, 1_380_443_792);
        publisher.map(|publisher| publisher.app().id.clone()).map_err(|refusal| (refusal.code, text(&refusal)))
    };
    assert_eq!(ask("1", "k:secret-number-one-", ""), Ok("1".into()));
    assert_eq!(ask("3", "k:secret-number-one-", ""), Err((Code::NotFound, "Unknown app id 3\n".into())));
    assert_eq!(ask("a\nb", "k:secret-number-one-", ""), Err((Code::NotFound, "Unknown app id a b\n".into())));
    for (app, credentials, query) in [
        ("2", "k:secret-number-one-", ""),
        ("2", "", "auth_key=k&auth_version=1.0&auth_timestamp=1380443792"),
        ("1", "", "auth_key=nobody&auth_version=1.0&auth_timestamp=1380443792"),
    ] {
        assert_eq!(ask(app, credentials, query), Err((Code::Unauthorized, "Unknown auth_key\n".into())));
    }
    let late = "Timestamp expired: Given timestamp (2013-09-29T08:46:33Z) not within 600s of server time (2013-09-29T08:36:32Z)\n";
    let query = "auth_key=k&auth_version=1.0&auth_timestamp=1380444393";
    assert_eq!(ask("1", "", query), Err((Code::Expired, late.into())));
}

fn events(body: &str) -> Result<super::Trigger, Refusal> {
    trigger(&app(), &Call { app: "1".into(), action: Action::Events }, body.as_bytes())
}

fn batch(body: &str) -> Result<super::Trigger, Refusal> {
    trigger(&app(), &Call { app: "1".into(), action: Action::BatchEvents }, body.as_bytes())
}

#[test]
fn an_event_is_published_as_its_text() {
    let body = r#"{"name":"e","data":"{\"a\": 1}","channels":["a","b","a"],"channel":"c","socket_id":"18.7","id":"i",
        "info":null,"later":{}}"#;
    let targets = events(body).unwrap().targets();
    let names: Vec<&str> = targets.iter().map(|target| target.channel.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let message = &targets[0].messages[0].message;
    assert_eq!(message.payload, Payload::Json(r#"{"a": 1}"#.into()));
    assert_eq!((message.event.as_deref(), message.except.as_deref()), (Some("e"), Some("18.7")));
    assert_eq!((message.id.as_ref().unwrap().id.as_str(), &targets[0].messages[0].from), ("i", &None));
    let text =
        events(r##"{"name":"e","data":"hello","channel":"#server-to-user-7","channels":null,"socket_id":null}"##);
    assert_eq!(text.unwrap().targets()[0].messages[0].message.payload, Payload::Text("hello".into()));
}

#[test]
fn what_is_no_event_is_refused() {
    let long = "x".repeat(201);
    let many: Vec<String> = (0..101).map(|nth| format!("\"c{nth}\"")).collect();
    let many = many.join(",");
    for (body, code, words) in [
        ("", Code::InvalidJson, ""),
        ("[]", Code::InvalidJson, "it is a list"),
        (r#"["n","d","lobby",null,null,null,null]"#, Code::InvalidJson, "it is a list"),
        (
            r#"{"name":"pusher:ping","data":"","channel":"a"}"#,
            Code::InvalidField,
            "name: names that begin with pusher:",
        ),
        (r#"{"name":"pusher_internal:x","data":"","channel":"a"}"#, Code::InvalidField, "pusher_internal: are"),
        (r#"{"name":"dormouse:gap","data":"","channel":"a"}"#, Code::InvalidField, "dormouse: are"),
        ("{", Code::InvalidJson, ""),
        ("{}", Code::InvalidField, "name"),
        (r#"{"name":7,"data":"","channel":"a"}"#, Code::InvalidJson, "string"),
        (r#"{"name":"","data":"","channel":"a"}"#, Code::InvalidField, "name"),
        (r#"{"name":"a\nb","data":"","channel":"a"}"#, Code::InvalidField, "name"),
        (&format!(r#"{{"name":"{long}","data":"","channel":"a"}}"#), Code::InvalidField, "name: 1 to 200"),
        (r#"{"name":"e","channel":"a"}"#, Code::InvalidField, "data"),
        (r#"{"name":"e","data":{"a":1},"channel":"a"}"#, Code::InvalidField, "data: a string"),
        (r#"{"name":"e","data":7,"channel":"a"}"#, Code::InvalidField, "data: a string"),
        (r#"{"name":"e","data":"","channels":"a"}"#, Code::InvalidJson, "sequence"),
        (r#"{"name":"e","data":"","channels":[]}"#, Code::InvalidField, "channel or channels"),
        (r#"{"name":"e","data":""}"#, Code::InvalidField, "channel or channels"),
        (r#"{"name":"e","data":"","channel":"a b"}"#, Code::InvalidChannel, "channel name"),
        (&format!(r#"{{"name":"e","data":"","channels":[{many}]}}"#), Code::InvalidField, "channels: 1 to 100"),
        (r#"{"name":"e","data":"","channel":"a","socket_id":"x"}"#, Code::InvalidField, "Invalid socket id x"),
        (r#"{"name":"e","data":"","channel":"a","socket_id":""}"#, Code::InvalidField, "Invalid socket id"),
        (r#"{"name":"e","data":"","channel":"a","socket_id":"1.2.3"}"#, Code::InvalidField, "Invalid socket id"),
        (r#"{"name":"e","data":"","channel":"a","socket_id":"-1.2"}"#, Code::InvalidField, "Invalid socket id"),
        (r#"{"name":"e","data":"","channel":"a","id":""}"#, Code::InvalidField, "id"),
        (r#"{"name":"e","data":"12345","channels":["a","tiny"]}"#, Code::TooLarge, "content of this event"),
    ] {
        let refusal = events(body).unwrap_err();
        assert_eq!(refusal.code, code, "{body}: {refusal}");
        assert!(refusal.message.contains(words), "{body}: {refusal}");
    }
    assert!(trigger(&app(), &Call { app: "1".into(), action: Action::Events }, b"\xff").is_err());
    assert!(events(r#"{"name":"e","data":"1234","channels":["a","tiny"]}"#).is_ok());
    let longest = format!("1.{}", "2".repeat(limits::CONNECTION_ID_MAX));
    assert!(events(&format!(r#"{{"name":"e","data":"","channel":"a","socket_id":"{longest}"}}"#)).is_err());
    let plain = "0123456789abcdef0123456789abcdef:weur:0";
    assert!(events(&format!(r#"{{"name":"e","data":"","channel":"a","socket_id":"{plain}"}}"#)).is_ok());
}

#[test]
fn a_batch_has_ten_events_of_a_channel_each() {
    let of = |events: &[&str]| batch(&format!(r#"{{"batch":[{}]}}"#, events.join(",")));
    let event = r#"{"name":"e","data":"1","channel":"a"}"#;
    let targets = of(&[event, r#"{"name":"f","data":"2","channel":"b"}"#, event]).unwrap().targets();
    assert_eq!(targets.iter().map(|target| target.messages.len()).collect::<Vec<_>>(), [2, 1]);
    assert!(of(&[event; 10]).is_ok() && of(&[]).unwrap().targets().is_empty());
    assert_eq!(of(&[]).unwrap().body(None), "{}");
    let refused = |result: Result<super::Trigger, Refusal>| {
        let refusal = result.unwrap_err();
        (refusal.code.status(), refusal.message)
    };
    assert_eq!(refused(of(&[event; 11])), (400, "Batch too large (> 10)".into()));
    let (status, message) = refused(of(&[event, r#"{"name":"e","data":"12345","channel":"tiny"}"#]));
    assert!(status == 413 && message.starts_with("batch[1]: The data content of this event"), "{message}");
    assert_eq!(refused(of(&[r#"{"name":"e","data":"1","channels":["a"]}"#])).0, 400);
    assert_eq!(refused(of(&[r#"["e","1","a",null,null,null,null]"#])).0, 400);
    assert_eq!(refused(batch(&format!("[[{event}]]"))).0, 400);
    assert_eq!((refused(of(&["7"])).0, refused(batch("{}")).0, refused(batch(r#"{"batch":{}}"#)).0), (400, 400, 400));
}

fn tally(counts: &[(&str, u64, Option<u64>)]) -> Tally {
    let channels = counts.iter().map(|(channel, ..)| Entry { channel: name(channel), at: 7 }).collect();
    let count = |&(_, connections, members): &(&str, u64, Option<u64>)| Count {
        connections,
        hubs: Vec::new(),
        members,
        newest: None,
    };
    Tally::new(Listed { channels, more: false }, counts.iter().map(count).collect()).0
}

#[test]
fn what_is_asked_of_channels_is_told_and_nothing_else() {
    let of = |info: &str, channels: &str| {
        events(&format!(r#"{{"name":"e","data":"1","channels":{channels},"info":"{info}"}}"#)).unwrap()
    };
    let both = r#"["presence-b","a"]"#;
    let tally = tally(&[("a", 3, None), ("presence-b", 5, Some(2))]);
    let trigger = of("user_count,subscription_count", both);
    assert_eq!(trigger.asked(), (vec![name("a"), name("presence-b")], true));
    assert_eq!(
        trigger.body(Some(&tally)),
        r#"{"channels":{"presence-b":{"user_count":2,"subscription_count":5},"a":{"subscription_count":3}}}"#
    );
    // Who asks for what a channel does not have is not told, and it is not counted.
    let trigger = of("user_count,cache,whatever", both);
    assert_eq!(trigger.asked(), (vec![name("presence-b")], false));
    assert_eq!(trigger.body(Some(&tally)), r#"{"channels":{"presence-b":{"user_count":2},"a":{}}}"#);
    assert_eq!(trigger.body(None), r#"{"channels":{"presence-b":{},"a":{}}}"#);
    assert_eq!((of("", both).asked(), of("", both).body(None)), ((Vec::new(), false), "{}".into()));
    let trigger = batch(
        r#"{"batch":[{"name":"e","data":"1","channel":"presence-b","info":"user_count"},{"name":"e","data":"1","channel":"a"},
        {"name":"e","data":"1","channel":"a","info":"subscription_count"}]}"#,
    )
    .unwrap();
    assert_eq!(trigger.asked(), (vec![name("a"), name("presence-b")], true));
    assert_eq!(trigger.body(Some(&tally)), r#"{"batch":[{"user_count":2},{},{"subscription_count":3}]}"#);
}

#[test]
fn the_worst_of_what_failed_is_told() {
    let trigger = events(r#"{"name":"e","data":"1","channels":["a","b","c"]}"#).unwrap();
    let stored = || Outcome::Stored { position: Epoch::new(1).at(1), duplicate: false };
    let refused = |code| Outcome::Refused { error: Refusal::new(code, "m") };
    let answer = |outcomes: [Outcome; 3]| -> Vec<(Target, Vec<Outcome>)> {
        trigger.targets().into_iter().zip(outcomes.map(|outcome| vec![outcome])).collect()
    };
    assert_eq!(trigger.published(&answer([stored(), stored(), stored()])), Ok(()));
    let answers = answer([refused(Code::IdConflict), refused(Code::Overloaded), refused(Code::Full)]);
    let refusal = trigger.published(&answers).unwrap_err();
    assert_eq!((refusal.code, text(&refusal).as_str()), (Code::Overloaded, "b: m\n"));
}

#[test]
fn channels_are_listed_up_to_a_bound() {
    let ask = |query: &str| with_head("GET", "/apps/1/channels", query, |head| channels_query(&app(), head));
    let refused = |query: &str| ask(query).unwrap_err().message.into_owned();
    assert!(refused("info=user_count").contains("user_count may only be requested for presence channels"));
    assert!(refused("info=user_count&filter_by_prefix=presence").contains("begining with presence-"));
    assert!(refused("info=cache").contains("cache") && refused("info=x,user_count").contains("no attribute x"));
    assert!(refused("filter_by_prefix=a%20b").contains("filter_by_prefix"));
    let off = config().app_by_id("2").unwrap().clone();
    let without = with_head("GET", "/apps/2/channels", "", |head| channels_query(&off, head));
    assert_eq!(without.unwrap_err().code, Code::NotFound);

    let mut query = ask("filter_by_prefix=presence-&info=user_count,subscription_count").unwrap();
    let list = query.list().unwrap();
    assert_eq!((list.prefix.as_str(), list.after, list.limit), ("presence-", None, limits::CHANNELS_NAMED_MAX));
    let entry = |channel: &str| Entry { channel: name(channel), at: 7 };
    query.add(Listed { channels: vec![entry("presence-a")], more: true }).unwrap();
    assert_eq!(query.list().unwrap().after, Some(name("presence-a")));
    query.add(Listed { channels: vec![entry("presence-b")], more: false }).unwrap();
    assert_eq!(query.list(), None);
    let (listed, others) = query.split();
    assert_eq!((listed.channels.len(), others.len()), (2, 0));
    // Nobody is left in one of them.
    let tally = tally(&[("presence-a", 4, Some(3)), ("presence-b", 0, Some(0))]);
    assert_eq!(query.body(&tally, &others), r#"{"channels":{"presence-a":{"user_count":3,"subscription_count":4}}}"#);

    let page = |from: usize| {
        let channels = (from..from + 1_000).map(|nth| entry(&format!("presence-{nth:05}"))).collect();
        Listed { channels, more: true }
    };
    assert_eq!(query.add(page(0)).unwrap_err().code, Code::InvalidField);
    let mut query = ask("").unwrap();
    for nth in 0..9 {
        query.add(page(nth * 1_000)).unwrap();
    }
    let (listed, others) = query.split();
    assert_eq!((listed.channels.len(), others.len()), (limits::CHANNELS_ASKED_MAX, 9_000 - limits::CHANNELS_ASKED_MAX));
    assert!(query.body(&Tally::new(listed, Vec::new()).0, &others[..1]).contains(r#"{"presence-00500":{}}"#));
    assert!(query.add(page(9_000)).unwrap_err().message.contains("more than 10000 channels"));
    // An answer without channels ends it.
    let mut query = ask("").unwrap();
    query.add(Listed { channels: Vec::new(), more: true }).unwrap();
    assert_eq!(query.list(), None);
}

#[test]
fn one_channel_is_described_by_what_was_asked() {
    let ask = |channel: &str, query: &str| {
        with_head("GET", "/apps/1/channels/x", query, |head| channel_query(&name(channel), head))
    };
    let count = |connections, hubs: &[&str], newest: Option<Newest>| Count {
        connections,
        hubs: hubs.iter().map(ToString::to_string).collect(),
        members: Some(2),
        newest,
    };
    let query = ask("a", "").unwrap();
    assert_eq!(query.body(count(0, &[], None), 0), r#"{"occupied":false}"#);
    assert_eq!(query.body(count(1, &[], None), 1), r#"{"occupied":true}"#);
    // Hubs are asked if nobody is known without them, or if everybody is to be counted.
    assert_eq!(query.hubs(&name("a"), &count(1, &["h"], None)).len(), 0);
    assert_eq!(query.hubs(&name("a"), &count(0, &["h", "i"], None)).len(), 2);
    assert!(!query.counting().newest);
    let query = ask("presence-cache-a", "info=user_count,subscription_count,cache").unwrap();
    assert!(query.counting().newest && query.hubs(&name("a"), &count(1, &["h"], None)).len() == 1);
    let newest = Newest { data: "{\"a\":1}".into(), ttl: 103 };
    assert_eq!(
        query.body(count(1, &["h"], Some(newest)), 9),
        r#"{"occupied":true,"user_count":2,"subscription_count":9,"cache":{"data":"{\"a\":1}","ttl":103}}"#
    );
    assert!(query.body(count(1, &[], None), 1).ends_with(r#""cache":null}"#));
    for (channel, info, words) in [
        ("a", "user_count", "Cannot retrieve the user count unless the channel is a presence channel"),
        ("private-a", "subscription_count,user_count", "user count"),
        ("presence-a", "cache", "unless the channel is a cache channel"),
        ("a", "name", "no attribute name"),
    ] {
        let refusal = ask(channel, &format!("info={info}")).unwrap_err();
        assert!(refusal.code.status() == 400 && refusal.message.contains(words), "{refusal}");
    }
}

#[test]
fn users_are_collected_from_all_pages() {
    assert_eq!(users_query(&name("private-a")).unwrap_err().code.status(), 400);
    let mut users = users_query(&name("presence-a")).unwrap();
    assert_eq!((users.last(), users.body().as_str()), (None, r#"{"users":[]}"#));
    let page = r#"{"channel":"presence-a","count":3,"members":[{"user":"1","data":{}},{"user":"ä\""}],"more":true}"#;
    assert_eq!(users.add(page), Ok(true));
    assert_eq!(users.last(), Some("ä\""));
    assert_eq!(users.add(r#"{"count":3,"members":[{"user":"z"}],"more":false,"later":1}"#), Ok(false));
    assert_eq!(users.body(), r#"{"users":[{"id":"1"},{"id":"ä\""},{"id":"z"}]}"#);
    // A page that has nobody is the last one.
    assert_eq!(users.add(r#"{"members":[],"more":true}"#), Ok(false));
    assert!(users.add("").is_err());
}

#[test]
fn a_hub_is_asked_about_so_many_channels_at_once() {
    let names: Vec<String> = (0..250).map(|nth| format!("c{nth:03}")).collect();
    let channels = names.iter().map(|channel| Entry { channel: name(channel), at: 7 }).collect();
    let count = || Count { connections: 0, hubs: vec!["h".into()], members: None, newest: None };
    let counts = names.iter().map(|_| count()).collect();
    let (mut tally, hubs) = Tally::new(Listed { channels, more: false }, counts);
    assert_eq!(hubs.iter().map(|(_, asked)| asked.channels.len()).collect::<Vec<_>>(), [100, 100, 50]);
    for (_, asked) in &hubs {
        tally.add(asked, &HubCounts { connections: vec![1; asked.channels.len()] });
    }
    assert_eq!(tally.occupied().count(), 250);
}
