//! Calls to the Directory, and those that list channels and close connections.

use super::{HubStub, RoomStub, post, read, unreachable, write};
use dormouse_core::close::{CLOSE_PATH, Close, Closed, Holder};
use dormouse_core::directory::{
    CLOSE_USER_PATH, COUNT_PATH, CloseUser, ClosedUser, Count, Counting, DIRECTORY_BINDING, HUB_COUNT_PATH, HubCount,
    HubCounts, LIST_PATH, List, Listed, REPORT_PATH, Report, Reported, STRIKE_PATH, Strike, directory_name,
};
use dormouse_core::limits;
use dormouse_core::refusal::Refusal;
use worker::{Env, ObjectNamespace};

/// An app's Directory, as the Worker and the other objects see it. Nothing is asked until a method is called.
pub struct DirectoryStub {
    namespace: ObjectNamespace,
    name: String,
}

impl DirectoryStub {
    /// The Directory of an app.
    pub fn new(env: &Env, app: &str) -> Result<Self, Refusal> {
        let namespace = env.durable_object(DIRECTORY_BINDING).map_err(|error| unreachable(&error))?;
        Ok(Self { namespace, name: directory_name(app) })
    }

    /// Tells what an object has: one request, and one row if it is a change.
    pub async fn report(&self, report: &Report) -> Result<Reported, Refusal> {
        read(&self.call(REPORT_PATH, &write(report)).await?)
    }

    /// Lists channels: one request, nothing written.
    pub async fn list(&self, list: &List) -> Result<Listed, Refusal> {
        read(&self.call(LIST_PATH, &write(list)).await?)
    }

    /// Strikes out channels that nobody has: one request, and one row deleted for each.
    pub async fn strike(&self, strike: &Strike) -> Result<(), Refusal> {
        self.call(STRIKE_PATH, &write(strike)).await.map(|_| ())
    }

    /// Closes a user's connections: one request, and the Directory's own to each Hub and to each Room with sockets of its own.
    pub async fn close_user(&self, close: &CloseUser) -> Result<ClosedUser, Refusal> {
        let call = write(close);
        read(&post(&self.namespace, &self.name, CLOSE_USER_PATH, &call, limits::CLOSE_USER_MS).await?)
    }

    async fn call(&self, path: &str, call: &str) -> Result<String, Refusal> {
        post(&self.namespace, &self.name, path, call, limits::CALL_MS).await
    }
}

/// Has an object close connections: one request, nothing written.
pub async fn close(env: &Env, app: &str, holder: &Holder, close: &Close) -> Result<Closed, Refusal> {
    let close = write(close);
    let answer = match holder {
        Holder::Channel(channel) => RoomStub::new(env, app, channel)?.call(CLOSE_PATH, &close).await,
        Holder::Hub(name) => HubStub::named(env, name.clone())?.call(CLOSE_PATH, &close, limits::CALL_MS).await,
    };
    read(&answer?)
}

impl RoomStub {
    /// What the room has: one request, nothing written.
    pub async fn count(&self, asked: Counting) -> Result<Count, Refusal> {
        read(&self.call(COUNT_PATH, &write(&asked)).await?)
    }
}

impl HubStub {
    /// How many of its sockets want each of some channels: one request, nothing written.
    pub async fn count(&self, count: &HubCount) -> Result<HubCounts, Refusal> {
        read(&self.call(HUB_COUNT_PATH, &write(count), limits::CALL_MS).await?)
    }
}
