//! The console page's files. The Worker comes first, so that also what the page does not have is refused as everything is.

use crate::answer::failed;
use dormouse_core::edge::not_found;
use dormouse_core::head::Head;
use dormouse_core::refusal::Refusal;
use worker::{Env, Request, web_sys};

/// The binding in `wrangler.toml`.
const ASSETS: &str = "ASSETS";

/// A file of the page; works without `APPS`, so that there is something to look at while it is being set.
pub(crate) async fn page(request: &web_sys::Request, env: &Env, head: &Head<'_>) -> Result<web_sys::Response, Refusal> {
    if head.wants_websocket() {
        return Err(not_found());
    }
    // A deployment may do without the page.
    let Ok(assets) = env.assets(ASSETS) else { return Err(not_found()) };
    let copy = request.clone().map(Request::from).map_err(|error| failed(&error.into()))?;
    let response = assets.fetch_request(copy).await.map_err(|error| failed(&error))?;
    let response = web_sys::Response::from(response);
    if response.status() == 404 { Err(not_found()) } else { Ok(response) }
}
