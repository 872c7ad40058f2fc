use super::*;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Default)]
struct Fake {
    dead: AtomicBool,
    busy: AtomicBool,
}

impl Probe for Fake {
    fn alive(&self) -> Result<(), String> {
        if self.dead.load(Ordering::Relaxed) { Err("failed: a sync failed".to_owned()) } else { Ok(()) }
    }

    fn ready(&self) -> Result<(), String> {
        if self.busy.load(Ordering::Relaxed) { Err("stopping".to_owned()) } else { Ok(()) }
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }
}

const TINY: Bounds = Bounds {
    connections: 2,
    head_time: Duration::from_millis(100),
    head_lines: 64,
    head_bytes: 16 * 1024,
    connection_time: Duration::from_millis(300),
};

fn health() -> Health {
    Health::new(crate::metrics::Metrics::for_test())
}

fn kept() -> Arc<HttpDescriptors> {
    Arc::new(HttpDescriptors::reserve(true))
}

fn clock() -> Arc<dyn Clock> {
    Arc::new(crate::clock::SystemClock)
}

fn names() -> ServerNames {
    ServerNames::of(Some("broker.example:9092"))
}

fn start(bounds: Bounds) -> (Http, Arc<Fake>) {
    let fake = Arc::new(Fake::default());
    let loopback = "127.0.0.1:0".parse().unwrap();
    (Http::start_bounded(loopback, routes(fake.clone(), names()), bounds, kept(), clock(), &health()).unwrap(), fake)
}

fn connect(http: &Http) -> TcpStream {
    let stream = TcpStream::connect(http.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Everything that comes until the server closes the connection.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        // It closed with some of what we sent still unread.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("the connection is still open: {error}"),
        _ => String::from_utf8(bytes).unwrap(),
    }
}

/// Sends bytes and returns the status line, if an answer came, once the connection is closed.
fn status_of(http: &Http, request: &[u8]) -> Option<String> {
    let mut stream = connect(http);
    let _ = stream.write_all(request); // The server may close before it has read all of it.
    rest(&mut stream).lines().next().map(str::to_owned)
}

fn ask(http: &Http, path: &str) -> (String, String) {
    let mut stream = connect(http);
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let answer = rest(&mut stream);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

fn check_serves(http: &Http) {
    assert_eq!(ask(http, "/healthz"), ("HTTP/1.1 200 OK".to_owned(), "ok\n".to_owned()));
}

#[test]
fn health_and_readiness_report_the_reason() {
    let (http, fake) = start(BOUNDS);
    let unavailable = |reason: &str| ("HTTP/1.1 503 Service Unavailable".to_owned(), format!("{reason}\n"));
    check_serves(&http);
    assert_eq!(ask(&http, "/readyz"), ask(&http, "/healthz"));
    fake.busy.store(true, Ordering::Relaxed);
    check_serves(&http);
    assert_eq!(ask(&http, "/readyz"), unavailable("stopping"));
    fake.dead.store(true, Ordering::Relaxed);
    assert_eq!(ask(&http, "/healthz"), unavailable("failed: a sync failed"));
    assert_eq!(ask(&http, "/readyz"), unavailable("failed: a sync failed"));
}

#[test]
fn metrics_say_which_format_they_have() {
    let (http, _) = start(BOUNDS);
    for (accept, content_type, ends_with_mark) in [
        ("", "text/plain; version=0.0.4; charset=utf-8", false),
        ("accept: text/plain;version=0.0.4\r\n", "text/plain; version=0.0.4; charset=utf-8", false),
        (
            "accept: text/plain;q=0.5\r\naccept: application/openmetrics-text;version=1.0.0\r\n",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            true,
        ),
    ] {
        let mut stream = connect(&http);
        write!(stream, "GET /metrics HTTP/1.1\r\nhost: localhost\r\n{accept}connection: close\r\n\r\n").unwrap();
        let answer = rest(&mut stream);
        assert!(answer.contains(&format!("\r\ncontent-type: {content_type}\r\n")), "{accept}: {answer}");
        assert_eq!(answer.ends_with("# EOF\n"), ends_with_mark, "{accept}: {answer}");
    }
}

#[test] // Hostile input 68.
fn nothing_but_the_three_paths_is_served() {
    let (http, _) = start(BOUNDS);
    for path in ["/", "/metrics/", "/%2e%2e%2fetc/passwd", "/..%252f..%252fetc/passwd", "//healthz", "/healthz%00"] {
        assert_eq!(ask(&http, path).0, "HTTP/1.1 404 Not Found", "{path}");
    }
    let post = b"POST /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(status_of(&http, post).as_deref(), Some("HTTP/1.1 405 Method Not Allowed"));
}

#[test]
fn a_port_in_use_is_an_error() {
    let (http, fake) = start(BOUNDS);
    let error = Http::start(http.address(), names(), fake, kept(), clock(), &health()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
}

#[test]
fn a_dropped_server_frees_its_port() {
    let (http, fake) = start(BOUNDS);
    let address = http.address();
    check_serves(&http);
    let mut open = connect(&http);
    drop(http);
    assert_eq!(rest(&mut open), ""); // Closed, so the thread is on its way out.
    while Http::start(address, names(), fake.clone(), kept(), clock(), &health()).is_err() {
        std::thread::yield_now();
    }
}

#[test] // Hostile input 64.
fn headers_that_trickle_in_close_the_connection() {
    let (http, _) = start(TINY);
    let mut silent = connect(&http);
    let mut slow = connect(&http);
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n").unwrap();
    assert!(!rest(&mut silent).contains("200 OK"));
    assert!(!rest(&mut slow).contains("200 OK"));
    check_serves(&http);
}

#[test] // Hostile input 64, from many sides.
fn a_probe_is_answered_at_once_beside_connections_that_say_nothing() {
    // Nothing but a newcomer closes a silent connection here.
    let patient = Bounds { connections: 4, head_time: Duration::from_secs(3600), ..BOUNDS };
    let (http, _) = start(patient);
    let mut silent: Vec<_> = (0..3 * patient.connections).map(|_| connect(&http)).collect();
    check_serves(&http);
    assert_eq!(rest(&mut silent[0]), "", "the most silent one made room");
}

#[test]
fn a_connection_that_asks_for_ever_is_closed() {
    let (http, _) = start(TINY);
    let mut stream = connect(&http);
    let mut answers = 0;
    while stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").is_ok() {
        let mut answer = [0; 512];
        match stream.read(&mut answer) {
            Ok(0) | Err(_) => break,
            Ok(_) => answers += 1,
        }
    }
    assert!(0 < answers);
    check_serves(&http);
}

#[test]
fn unread_answers_do_not_hold_a_connection_for_ever() {
    let (http, _) = start(TINY);
    let mut stream = connect(&http);
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let requests = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let refused = std::iter::repeat_with(|| stream.write_all(&requests)).find_map(Result::err).unwrap();
    assert!(matches!(refused.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{refused}");
    check_serves(&http);
}

#[test] // Hostile input 65.
fn a_head_too_long_or_with_too_many_lines_is_refused() {
    let (http, _) = start(BOUNDS);
    let too_large = Some("HTTP/1.1 431 Request Header Fields Too Large".to_owned());
    let long = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\nlong: {}\r\n\r\n", "x".repeat(64 * 1024));
    assert_eq!(status_of(&http, long.as_bytes()), too_large);
    let many = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "a: b\r\n".repeat(1_000));
    assert_eq!(status_of(&http, many.as_bytes()), too_large);
    let endless = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    assert!(!status_of(&http, endless.as_bytes()).unwrap_or_default().contains("200"));
    check_serves(&http);
}

#[test] // Hostile input 66.
fn bodies_that_lie_about_their_length_are_refused() {
    let (http, _) = start(BOUNDS);
    for lie in [
        "content-length: -1\r\n\r\n",
        "content-length: 99999999999999999999999\r\n\r\n",
        "content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        "transfer-encoding: gzip\r\n\r\n",
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{lie}");
        assert_eq!(status_of(&http, request.as_bytes()).as_deref(), Some("HTTP/1.1 400 Bad Request"), "{lie:?}");
    }
    check_serves(&http);
}

#[test] // Hostile input 66: whatever the body is, no second request is read out of it.
fn a_body_with_two_lengths_hides_no_request() {
    let (http, _) = start(BOUNDS);
    for body in [
        "content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nGET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let mut stream = connect(&http);
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{body}").unwrap();
        assert!(!rest(&mut stream).contains("version=0.0.4"), "{body:?}");
    }
    check_serves(&http);
}

#[test] // Hostile input 71: a page whose name was made to resolve to this machine.
fn only_requests_that_name_this_server_are_answered() {
    let (http, _) = start(BOUNDS);
    let misdirected = Some("HTTP/1.1 421 Misdirected Request".to_owned());
    let ok = Some("HTTP/1.1 200 OK".to_owned());
    let get = |target: &str, hosts: &str| {
        status_of(&http, format!("GET {target} HTTP/1.1\r\n{hosts}connection: close\r\n\r\n").as_bytes())
    };
    for (target, hosts) in [
        ("/metrics", "host: evil.example\r\n"),
        ("/metrics", "host: localhost.evil.example:9094\r\n"),
        ("/metrics", "host: localhost\r\nhost: evil.example\r\n"),
        ("/nowhere", "host: \r\n"),
        ("http://evil.example/metrics", "host: localhost\r\n"),
    ] {
        assert_eq!(get(target, hosts), misdirected, "{target} {hosts}");
    }
    for (target, hosts) in [
        ("/metrics", "host: 127.0.0.1:9094\r\n"),
        ("/metrics", "host: [::1]:9094\r\n"),
        ("/metrics", "host: BROKER.example\r\n"),
        ("http://localhost:9094/metrics", "host: localhost\r\n"),
    ] {
        assert_eq!(get(target, hosts), ok, "{target} {hosts}");
    }
    assert_eq!(status_of(&http, b"GET /healthz HTTP/1.0\r\n\r\n"), Some("HTTP/1.0 200 OK".to_owned()));
}
