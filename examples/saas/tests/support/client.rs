//! A client that says what it is told to: any host, any cookie, any origin.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// Sends requests to a port of this machine, under the name of a host.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) host: String,
    port: u16,
    cookie: Option<String>,
    origin: Option<String>,
}

pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Client {
    pub(crate) fn new(port: u16, host: &str) -> Self {
        Self {
            host: host.to_owned(),
            port,
            cookie: None,
            origin: None,
        }
    }

    pub(crate) fn with_cookie(&self, cookie: &str) -> Self {
        Self {
            cookie: Some(cookie.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn sent_by(&self, origin: &str) -> Self {
        Self {
            origin: Some(origin.to_owned()),
            ..self.clone()
        }
    }

    pub(crate) fn get(&self, path: &str) -> Response {
        self.send("GET", path, "", b"")
    }

    pub(crate) fn post(&self, path: &str, form: &[(&str, &str)]) -> Response {
        let pairs = form
            .iter()
            .map(|(name, value)| format!("{name}={}", encoded(value)));
        let body = pairs.collect::<Vec<_>>().join("&");
        let kind = "application/x-www-form-urlencoded";
        self.send("POST", path, kind, body.as_bytes())
    }

    pub(crate) fn upload(&self, path: &str, field: &str, bytes: &[u8]) -> Response {
        let head = format!(
            "--edge\r\ncontent-disposition: form-data; name=\"{field}\"; filename=\"a\"\r\n\r\n"
        );
        let body = [head.as_bytes(), bytes, b"\r\n--edge--\r\n"].concat();
        self.send("POST", path, "multipart/form-data; boundary=edge", &body)
    }

    fn send(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Response {
        let mut head = vec![
            format!("{method} {path} HTTP/1.1"),
            format!("host: {}:{}", self.host, self.port),
            "connection: close".to_owned(),
        ];
        head.extend(self.cookie.iter().map(|cookie| format!("cookie: {cookie}")));
        head.extend(self.origin.iter().map(|origin| format!("origin: {origin}")));
        if method == "POST" {
            head.push(format!("content-type: {kind}"));
            head.push(format!("content-length: {}", body.len()));
        }
        let head = head.join("\r\n") + "\r\n\r\n";
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).expect("a time-out");
        stream
            .write_all(head.as_bytes())
            .expect("it takes the head");
        // A body that is too large need not be taken to its end.
        let _ = stream.write_all(body);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        Response::read(&answer)
    }
}

impl Response {
    fn read(answer: &[u8]) -> Self {
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("an answer: {answer:?}"));
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        Self {
            status: status.expect("a status"),
            head,
            body: answer[end + 4..].to_owned(),
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    /// The cookie that is set, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        let cookie = self.header("set-cookie").expect("a cookie");
        cookie.split(';').next().expect("a value").to_owned()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n\n{}", self.head, self.text());
        self
    }

    #[track_caller]
    pub(crate) fn leads_to(self, location: &str) -> Self {
        assert_eq!(self.header("location"), Some(location), "{}", self.text());
        self
    }

    #[track_caller]
    pub(crate) fn says(self, what: &str) -> Self {
        assert!(
            self.text().contains(what),
            "{what:?} is not in {}",
            self.text()
        );
        self
    }

    #[track_caller]
    pub(crate) fn hides(self, what: &str) -> Self {
        assert!(
            !self.text().contains(what),
            "{what:?} is in {}",
            self.text()
        );
        self
    }
}

fn encoded(value: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    };
    value.bytes().map(encode).collect()
}
