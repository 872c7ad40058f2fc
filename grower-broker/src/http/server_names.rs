//! The names of this server, as protection against DNS rebinding.
//!
//! A web page can make its own name resolve to 127.0.0.1 and read this server through the browser of a user on this
//! machine, although it has another origin. Its requests still carry its own name. So only requests for an IP address,
//! for `localhost`, or for the advertised host are answered.

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// All IP addresses, `localhost`, and the advertised host.
#[derive(Clone, Debug)]
pub struct ServerNames {
    advertised: Option<Arc<str>>,
}

impl ServerNames {
    /// The names of a broker that advertises this address.
    pub fn of(advertise: Option<&str>) -> Self {
        Self { advertised: advertise.map(|address| host_of(address).into()) }
    }

    /// Whether a `Host` header, or the authority of an absolute URL, names this server.
    pub fn include(&self, said: &str) -> bool {
        let host = host_of(said);
        let named = |name: &str| host.eq_ignore_ascii_case(name);
        host.parse::<Ipv4Addr>().is_ok()
            || host.parse::<Ipv6Addr>().is_ok()
            || named("localhost")
            || self.advertised.as_deref().is_some_and(named)
    }
}

/// The host of `host:port`, without the brackets of an IPv6 address and the final dot of a full name. Text of any other
/// form is returned whole: no server has such a name.
fn host_of(authority: &str) -> &str {
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let host = authority.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(authority, |(host, _)| host);
    let host = if authority.ends_with(']') { authority } else { host };
    let in_brackets = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    in_brackets.unwrap_or(host.strip_suffix('.').unwrap_or(host))
}

/// Refuses a request that names another server. A request without a name comes from no browser.
pub(super) async fn check(State(names): State<ServerNames>, request: Request, next: Next) -> Response {
    let headers = request.headers().get_all(header::HOST).iter().map(|host| host.to_str().unwrap_or_default());
    let authority = request.uri().authority().map(|authority| authority.as_str());
    if headers.chain(authority).all(|said| names.include(said)) {
        return next.run(request).await;
    }
    let why =
        "the Host header names another server: use an IP address, localhost, or the host that the broker advertises\n";
    (StatusCode::MISDIRECTED_REQUEST, why).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_localhost_and_the_advertised_host_are_this_server() {
        let names = ServerNames::of(Some("broker.example:9092"));
        for said in [
            "127.0.0.1",
            "127.0.0.1:9094",
            "192.168.1.7:9094",
            "[::1]",
            "[::1]:9094",
            "localhost",
            "LocalHost:9094",
            "localhost.",
            "broker.example",
            "Broker.Example.:9094",
        ] {
            assert!(names.include(said), "{said}");
        }
    }

    #[test]
    fn any_other_name_is_refused() {
        for said in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.1",
            "2130706433",
            "[evil]",
            "broker.example",
            "broker.example@evil.example",
            "[::1]evil.example",
            "[::1].evil.example:80",
            "localhost:evil.example",
        ] {
            assert!(!ServerNames::of(None).include(said), "{said}");
        }
        assert!(!ServerNames::of(Some("")).include("evil.example"));
        assert!(!ServerNames::of(Some("[::1]:9092")).include("evil.example"));
    }
}
