//! A page of a channel's members, for whoever may read them.

use crate::limits;
use crate::presence::Member;
use crate::refusal::{Code, Refusal};
use crate::room::{Room, Turn, refusal_of};
use crate::store::Store;
use serde::{Deserialize, Serialize};

/// Which page of the members is wanted.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MembersQuery {
    /// Those after this user; `None`: from the first on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// At most so many; 1 … [`limits::MEMBERS_PAGE_MAX`].
    pub limit: u64,
}

/// Members, in order of their users.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct MembersPage {
    /// The channel.
    pub channel: String,
    /// How many members there are, on all pages.
    pub count: u64,
    /// Those of this page.
    pub members: Vec<Member>,
    /// Whether there is another page after the last of them.
    pub more: bool,
}

impl Room {
    /// Reads a page of the members. Writes nothing, and creates nothing.
    pub fn members_page<S: Store>(
        &mut self,
        query: &MembersQuery,
        turn: Turn,
        store: &mut S,
    ) -> Result<MembersPage, Refusal> {
        let channel = self.channel.to_string();
        let refusal = || Refusal::new(Code::InvalidChannel, "only presence channels have members");
        let known = self.members(turn, store).map_err(refusal_of)?.ok_or_else(refusal)?;
        let count = known.roster.count(turn.now);
        let limit = usize::try_from(query.limit.min(limits::MEMBERS_PAGE_MAX)).unwrap_or(usize::MAX);
        let mut members = known.roster.page(query.after.as_deref(), limit + 1);
        let more = members.len() > limit;
        members.truncate(limit);
        self.forget_empty();
        Ok(MembersPage { channel, count, members, more })
    }
}
