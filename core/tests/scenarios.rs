//! Behaviour as transcripts: `tests/scenarios/*.txt`, which its README explains, played natively with and without sleep. The same files
//! are played against the runtime by `tests/scenarios/*.test.mjs`.

#![expect(clippy::expect_used, clippy::panic, reason = "in a test there is nobody to tell but the one who runs it")]

mod scenario;

use scenario::{Script, Sleep, parse, play};
use std::fs;
use std::path::PathBuf;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/scenarios")
}

/// Every transcript: its name and its text, in the order of the names.
fn transcripts() -> Vec<(String, String)> {
    let entries = fs::read_dir(folder()).expect("the folder of the transcripts");
    let names = entries.map(|entry| entry.expect("a file").file_name().into_string().expect("a name"));
    let mut names: Vec<String> = names.filter(|name| name.strip_suffix(".txt").is_some()).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(folder().join(&name)).expect("a text");
            (name, text)
        })
        .collect()
}

/// What does not go as it is written, with file and line.
fn mismatch(name: &str, text: &str, sleep: Sleep) -> Option<String> {
    let result = parse(text).and_then(|script| if applies(&script, sleep) { play(&script, sleep) } else { Ok(()) });
    let (line, error) = result.err()?;
    let expected = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    Some(format!("tests/scenarios/{name}:{line}: ({sleep:?})\n  expected  {expected}\n  got       {error}"))
}

fn applies(script: &Script, sleep: Sleep) -> bool {
    sleep == Sleep::Never || script.only_awake.is_none()
}

fn all(sleep: Sleep) {
    let transcripts = transcripts();
    assert!(!transcripts.is_empty(), "there is no transcript in {}", folder().display());
    let mismatches: Vec<String> = transcripts.iter().filter_map(|(name, text)| mismatch(name, text, sleep)).collect();
    let (bad, of) = (mismatches.len(), transcripts.len());
    assert!(mismatches.is_empty(), "\n{}\n{bad} of {of} transcripts\n", mismatches.join("\n"));
    println!("{of} transcripts");
}

#[test]
fn awake() {
    all(Sleep::Never);
}

#[test]
fn asleep_between_every_two_lines() {
    all(Sleep::BetweenLines);
}

#[test]
fn asleep_before_every_event() {
    all(Sleep::BeforeEveryEvent);
}

#[test]
fn transcripts_that_run_in_one_way_only_say_why() {
    let scripts: Vec<_> = transcripts().into_iter().filter_map(|(_, text)| parse(&text).ok()).collect();
    for reason in scripts.iter().flat_map(|script| script.only_native.iter().chain(&script.only_awake)) {
        assert!(reason.split(' ').count() > 3, "this explains nothing: {reason}");
    }
    println!("{} natively only", scripts.iter().filter(|script| script.only_native.is_some()).count());
}

/// A transcript of these lines has to fail at that line.
fn fails_at(line: usize, lines: &[&str]) {
    let text = format!("# A transcript\n{}\n", lines.join("\n"));
    let at = parse(&text).and_then(|script| play(&script, Sleep::Never)).err().map(|(line, _)| line);
    assert_eq!(at, Some(line), "{text}");
}

#[test]
fn what_is_not_so_is_noticed() {
    let alice = "alice connects /rooms/lobby";
    let welcome = r#"alice < {"type":"welcome","connection":"$alice","channel":"lobby","position":"$e:0"}"#;
    let publish = r#"http > POST /publish {"channel":"lobby","data":{"a": 1}}"#;
    let answer = r#"http < 200 {"channels":{"lobby":{"position":"$e:1"}}}"#;
    let message = r#"alice < {"type":"message","channel":"lobby","position":"$e:1","data":{"a": 1}}"#;
    let good = [alice, welcome, publish, answer, message].join("\n");
    assert_eq!(parse(&format!("# T\n{good}\n")).and_then(|script| play(&script, Sleep::Never)), Ok(()));
    for (at, before, after) in [
        (3, "lobby\",\"position", "hall\",\"position"),
        (3, "$e:0", "$e:1"),
        (3, "$e:0", "$alice:0"),
        (3, ",\"channel\":\"lobby\"", ""),
        (4, "> POST", "> PUT"),
        (5, "200", "201"),
        (5, "$e:1", "$f:1"),
        (6, "{\"a\": 1}}", "{\"a\":1}}"),
        (6, "alice <", "alice <<"),
        (6, "alice <", "bob <"),
        (6, "message", "massage"),
        (6, "alice < {", "alice < nothing {"),
    ] {
        let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
        let line = &mut lines[at - 2];
        assert!(line.contains(before), "{line}");
        *line = line.replace(before, after);
        let at = if at == 4 { 5 } else { at };
        fails_at(at, &lines.iter().map(String::as_str).collect::<Vec<_>>());
    }
    fails_at(5, &[alice, welcome, publish, answer]);
    fails_at(2, &[alice]);
    fails_at(3, &[alice, "alice < nothing"]);
    fails_at(4, &[alice, welcome, "alice < closed 1000"]);
    fails_at(4, &[alice, welcome, publish]);
    fails_at(3, &[alice, "alices connects"]);
    fails_at(3, &[alice, "~ sleep"]);
    fails_at(2, &["only natively: because of this and that"]);
    fails_at(4, &[alice, "bob streams /rooms/private-x", welcome]);
}

#[test]
fn what_is_not_so_of_many_channels_is_noticed() {
    let good = [
        "alice connects /connect",
        r#"alice < {"type":"welcome","connection":"$alice"}"#,
        r#"alice > {"type":"subscribe","channel":"red"}"#,
        r#"alice > {"type":"subscribe","channel":"blue"}"#,
        r#"alice < {"type":"subscribed","channel":"blue","position":"$b:0"}"#,
        r#"alice < {"type":"subscribed","channel":"red","position":"$r:0"}"#,
        r#"alice > 2 times {"type":"publish","channel":"red","data":$#}"#,
        r#"alice < 2 times {"type":"message","channel":"red","position":"$r:$#","data":$#}"#,
        r#"alice < 2 times {"type":"ack","channel":"red","position":"$r:$#"}"#,
        r#"alice > {"type":"unsubscribe","channel":"red"}"#,
        r#"alice < {"type":"unsubscribed","channel":"red"}"#,
        "~ blue has 1 followers",
    ];
    let without = |lines: &[usize]| -> Vec<&str> {
        (2..).zip(good).filter(|(line, _)| !lines.contains(line)).map(|(_, text)| text).collect()
    };
    let script = parse(&format!("# T\n{}\n", good.join("\n")));
    assert_eq!(script.and_then(|script| play(&script, Sleep::Never)), Ok(()));
    // The first is the first, and what is left in any lane is told at the end.
    fails_at(5, &without(&[3]));
    fails_at(12, &without(&[6]));
    fails_at(12, &without(&[10]));
    fails_at(11, &without(&[9]));
    let changed = |line: usize, before: &str, after: &str| {
        assert!(good[line - 2].contains(before));
        let text = good[line - 2].replace(before, after);
        let mut lines = good;
        lines[line - 2] = &text;
        fails_at(line, &lines);
    };
    changed(6, "blue", "green");
    changed(7, "$r:0", "$b:0");
    changed(9, "$r:$#", "$r:2");
    changed(10, "2 times", "3 times");
    changed(12, "unsubscribed", "subscribed");
    changed(13, "1 followers", "0 followers");
    changed(13, "blue has 1 followers", "alice is in a hub ");
    changed(8, "> 2 times", "< 2 times");
    let full = r#"app {"id":"1","key":"dev-key","secrets":["dev-secret"],"channels":[{"prefix":"","connections":0}]}"#;
    let bob = r#"bob < {"type":"welcome","connection":"$bob","channel":"lobby","position":"$e:0"}"#;
    let in_hub = [full, "bob connects /rooms/lobby", "~ bob is in a hub", bob].join("\n");
    assert_eq!(parse(&format!("# T\n{in_hub}\n")).and_then(|script| play(&script, Sleep::Never)), Ok(()));
    fails_at(3, &["bob connects /rooms/lobby", "~ bob is in a hub", bob]);
}
