//! Consumer groups: requests to the coordinator.

use super::Api;
use grower_protocol::message::{ErrorCode, Failure, Request, Response};
use std::sync::Arc;

impl Api {
    pub(super) async fn group_request(self: Arc<Self>, _request: Request) -> Result<Response, Failure> {
        Err(Failure::new(ErrorCode::Unsupported, "consumer groups are not served by this build"))
    }
}
