//! The errors: one enum per operation. Each tells whether a retry helps and whether the outcome is known.

mod admin;
mod append_at;
mod commit;
mod connect;
mod consume;
mod flush;
mod produce;
mod request;
mod send_all;
mod wording;

pub use admin::AdminError;
pub use append_at::AppendAtError;
pub use commit::{CommitError, NotCommitted};
pub use connect::{ConnectError, ConnectionError};
pub use consume::ConsumeError;
pub use flush::FlushError;
pub use produce::ProduceError;
pub use request::RequestError;
pub use send_all::{FailedRange, SendAllError};

pub(crate) use append_at::actual_end;
pub(crate) use request::{single_part, unexpected_response};
