//! Reads a transcript (`tests/scenarios/README.md`). A line that is not understood is an error.

/// A transcript, read.
pub(crate) struct Script {
    /// Why it runs natively only, if it does.
    pub(crate) only_native: Option<String>,
    /// Why it runs without sleep only, if it does.
    pub(crate) only_awake: Option<String>,
    /// The value of `APPS`.
    pub(crate) apps: String,
    /// What happens, each with the number of its line.
    pub(crate) steps: Vec<(usize, Step)>,
}

/// What one line says.
#[derive(Debug)]
pub(crate) enum Step {
    Token {
        name: String,
        secret: Option<String>,
        claims: String,
    },
    /// As Pusher's clients are signed: `key:signature` of a text.
    Sign {
        name: String,
        credentials: Option<String>,
        text: String,
    },
    Connect {
        who: String,
        stream: bool,
        path: String,
        headers: Headers,
    },
    Leave {
        who: String,
    },
    Say {
        who: String,
        times: usize,
        payload: String,
    },
    Hear {
        who: String,
        times: usize,
        expected: Expected,
    },
    Ask(Ask),
    Answer(Head),
    Wait {
        ms: u64,
    },
    Rows {
        channel: String,
        count: usize,
    },
    Followers {
        channel: String,
        count: usize,
    },
    InHub {
        who: String,
    },
}

pub(crate) type Headers = Vec<(String, String)>;

/// A request that is no connection.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) auth: Auth,
    pub(crate) headers: Headers,
    pub(crate) body: String,
}

#[derive(Debug)]
pub(crate) enum Auth {
    /// The first app's key and secret.
    Default,
    Nobody,
    /// `key:secret`, by HTTP Basic.
    As(String),
    /// `key:secret`, by a signature; and how many seconds its time is off.
    Signed(String, i64),
}

/// Status, headers and body.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) headers: Headers,
    pub(crate) body: String,
}

#[derive(Clone, Debug)]
pub(crate) enum Expected {
    Nothing,
    /// With a code for a socket, without for a stream.
    Closed(Option<u16>),
    Head(Head),
    Payload(String),
}

const DEVELOPMENT: &str =
    r#"{"id":"1","key":"dev-key","secrets":["dev-secret"],"channels":[{"prefix":"","publish":true}]}"#;

pub(crate) fn parse(text: &str) -> Result<Script, (usize, String)> {
    let mut apps: Vec<String> = Vec::new();
    let mut literal = None;
    let mut script = Script { only_native: None, only_awake: None, apps: String::new(), steps: Vec::new() };
    if !text.starts_with("# ") {
        return Err((1, "the first line is the title: `# …`".to_owned()));
    }
    for (number, line) in (1..).zip(text.lines()) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let fail = |message: &str| (number, format!("{message}: {line}"));
        if line != line.trim() {
            return Err(fail("spaces around the line"));
        }
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let heads = matches!(word, "only" | "app" | "apps");
        if heads && !script.steps.is_empty() {
            return Err(fail("this belongs above the first step"));
        }
        match (word, rest.split_once(": ")) {
            ("only", Some(("native", reason))) => script.only_native = Some(reason.to_owned()),
            ("only", Some(("awake", reason))) => script.only_awake = Some(reason.to_owned()),
            ("app", _) => apps.push(rest.to_owned()),
            ("apps", _) => literal = Some(rest.to_owned()),
            _ => {
                let step = step(word, rest).ok_or_else(|| fail("a line that is not understood"))?;
                let asked = matches!(script.steps.last(), Some((_, Step::Ask(_))));
                if asked != matches!(step, Step::Answer(_)) {
                    return Err(fail("`http >` and `http <` belong together"));
                }
                script.steps.push((number, step));
            }
        }
    }
    let last = text.lines().count();
    if matches!(script.steps.last(), None | Some((_, Step::Ask(_)))) {
        return Err((last, "it ends too early".to_owned()));
    }
    if apps.is_empty() {
        apps.push(DEVELOPMENT.to_owned());
    }
    script.apps = literal.unwrap_or_else(|| format!("[{}]", apps.join(",")));
    Ok(script)
}

fn step(word: &str, rest: &str) -> Option<Step> {
    match word {
        "token" => token(rest),
        "sign" => sign(rest),
        "~" => stage_direction(rest),
        "http" => match rest.split_at_checked(2)? {
            ("> ", asked) => ask(asked),
            ("< ", answered) => head(answered).map(Step::Answer),
            _ => None,
        },
        who if is_name(who) => client(who.to_owned(), rest),
        _ => None,
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_lowercase())
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

fn token(rest: &str) -> Option<Step> {
    let (name, rest) = rest.strip_prefix('$')?.split_once(' ')?;
    let (secret, claims) = match rest.strip_prefix("signed ") {
        Some(rest) => rest.split_once(' ').map(|(secret, claims)| (Some(secret.to_owned()), claims))?,
        None => (None, rest),
    };
    is_name(name).then(|| Step::Token { name: name.to_owned(), secret, claims: claims.to_owned() })
}

fn sign(rest: &str) -> Option<Step> {
    let (name, rest) = rest.strip_prefix('$')?.split_once(' ')?;
    let (credentials, text) = match rest.strip_prefix("with ") {
        Some(rest) => rest.split_once(' ').map(|(credentials, text)| (Some(credentials.to_owned()), text))?,
        None => (None, rest),
    };
    is_name(name).then(|| Step::Sign { name: name.to_owned(), credentials, text: text.to_owned() })
}

fn stage_direction(rest: &str) -> Option<Step> {
    let words: Vec<&str> = rest.split(' ').collect();
    match words.as_slice() {
        ["wait", seconds, "s"] => Some(Step::Wait { ms: seconds.parse::<u64>().ok()? * 1000 }),
        [channel, "has", count, "rows"] => {
            Some(Step::Rows { channel: (*channel).to_owned(), count: count.parse().ok()? })
        }
        [channel, "has", count, "followers"] => {
            Some(Step::Followers { channel: (*channel).to_owned(), count: count.parse().ok()? })
        }
        [who, "is", "in", "a", "hub"] => Some(Step::InHub { who: (*who).to_owned() }),
        _ => None,
    }
}

fn client(who: String, rest: &str) -> Option<Step> {
    let (verb, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    match verb {
        "connects" | "streams" => {
            let (path, rest) = rest.split_once(' ').unwrap_or((rest, ""));
            let (headers, rest) = headers(rest)?;
            let stream = verb == "streams";
            (path.starts_with('/') && rest.is_empty()).then(|| Step::Connect {
                who,
                stream,
                path: path.to_owned(),
                headers,
            })
        }
        "leaves" if rest.is_empty() => Some(Step::Leave { who }),
        ">" => {
            let (times, payload) = times(rest);
            (!payload.is_empty()).then(|| Step::Say { who, times, payload: payload.to_owned() })
        }
        "<" => {
            let (times, rest) = times(rest);
            Some(Step::Hear { who, times, expected: expected(rest)? })
        }
        _ => None,
    }
}

fn times(rest: &str) -> (usize, &str) {
    let counted = rest.split_once(" times ").and_then(|(count, rest)| Some((count.parse().ok()?, rest)));
    counted.unwrap_or((1, rest))
}

fn expected(rest: &str) -> Option<Expected> {
    if rest == "nothing" {
        return Some(Expected::Nothing);
    }
    if rest == "closed" {
        return Some(Expected::Closed(None));
    }
    if let Some(code) = rest.strip_prefix("closed ") {
        return Some(Expected::Closed(Some(code.parse().ok()?)));
    }
    if let Some(head) = head(rest) {
        return Some(Expected::Head(head));
    }
    (!rest.is_empty()).then(|| Expected::Payload(rest.to_owned()))
}

fn ask(rest: &str) -> Option<Step> {
    let (method, rest) = rest.split_once(' ')?;
    let (path, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut auth = Auth::Default;
    if let Some(after) = rest.strip_prefix("as ") {
        let (who, after) = after.split_once(' ').unwrap_or((after, ""));
        auth = if who == "nobody" { Auth::Nobody } else { Auth::As(who.to_owned()) };
        rest = after;
    } else if let Some(after) = rest.strip_prefix("signed ") {
        let (who, after) = after.split_once(' ').unwrap_or((after, ""));
        let at = after.strip_prefix("at ").map(|after| after.split_once(' ').unwrap_or((after, "")));
        let (seconds, after) = at.map_or(Some((0, after)), |(at, after)| Some((at.parse().ok()?, after)))?;
        auth = Auth::Signed(who.to_owned(), seconds);
        rest = after;
    }
    let (headers, body) = headers(rest)?;
    let plain = method.bytes().all(|b| b.is_ascii_uppercase()) && path.starts_with('/');
    plain.then(|| {
        Step::Ask(Ask { method: method.to_owned(), path: path.to_owned(), auth, headers, body: body.to_owned() })
    })
}

fn head(rest: &str) -> Option<Head> {
    let (status, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    if status.len() != 3 {
        return None;
    }
    let (headers, body) = headers(rest)?;
    Some(Head { status: status.parse().ok()?, headers, body: body.to_owned() })
}

/// `[name: value] [name: value] rest`.
fn headers(mut rest: &str) -> Option<(Headers, &str)> {
    let mut headers = Vec::new();
    while let Some(inside) = rest.strip_prefix('[') {
        let (header, after) = inside.split_once(']')?;
        let (name, value) = header.split_once(": ")?;
        headers.push((name.to_ascii_lowercase(), value.to_owned()));
        rest = if after.is_empty() { after } else { after.strip_prefix(' ')? };
    }
    Some((headers, rest))
}
