//! The native runner of `tests/scenarios/*.txt`: the same lines as against the runtime, in memory and in virtual time.

mod calls;
mod compare;
mod hall;
mod home;
mod lane;
mod objects;
mod script;
mod signing;
mod stage;
mod values;
mod worker;

pub(crate) use script::{Script, parse};
pub(crate) use stage::play;

/// When rooms and Hubs are woken anew. Nobody may be able to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sleep {
    Never,
    BetweenLines,
    BeforeEveryEvent,
}
