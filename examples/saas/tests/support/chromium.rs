//! Headless Chromium, over its protocol for debuggers: messages of JSON through two pipes.
//!
//! The protocol's whole vocabulary, as crates generate it, takes longer to build
//! than the program. Half a dozen of its words are enough here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a page may take, on a machine with other things to do.
const PATIENCE: Duration = Duration::from_mins(1);

/// What it is called where it is installed.
const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with one page. It is gone when this value is.
pub(crate) struct Browser {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    sent: u64,
    session: String,
    _profile: TempDir,
}

/// Where Chromium is: `CHROMIUM`, or on the path.
pub(crate) fn find() -> Option<PathBuf> {
    if let Some(given) = env::var_os("CHROMIUM") {
        return Some(given.into());
    }
    let path = env::var_os("PATH")?;
    let candidates = env::split_paths(&path).flat_map(|dir| NAMES.map(|name| dir.join(name)));
    candidates.into_iter().find(|file| file.is_file())
}

impl Browser {
    pub(crate) fn start(program: &Path) -> Self {
        let profile = tempfile::tempdir().expect("a directory");
        let mut command = Command::new("sh");
        // It reads commands from descriptor 3 and writes answers to descriptor 4.
        let script = r#"exec "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;
        command.args(["-c", script, "sh"]).arg(program).args([
            "--headless=new",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--window-size=1200,800",
        ]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        if is_root() {
            command.arg("--no-sandbox");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let commands = child.stdin.take().expect("a pipe");
        let output = child.stdout.take().expect("a pipe");
        let (tell, answers) = channel();
        thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if tell.send(message).is_err() {
                    return;
                }
            }
        });
        let mut browser = Self {
            child,
            commands,
            answers,
            sent: 0,
            session: String::new(),
            _profile: profile,
        };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let attached = browser.call("Target.attachToTarget", &attach);
        text(&attached["sessionId"]).clone_into(&mut browser.session);
        browser.call("Page.enable", &json!({}));
        browser
    }

    /// Opens a page, and waits until it is loaded.
    pub(crate) fn open(&mut self, url: &str) {
        // So that what is waited for is not the page before.
        self.run("window.isOld = true");
        let opened = self.call("Page.navigate", &json!({ "url": url }));
        assert_eq!(opened.get("errorText"), None, "{url}: {opened}");
        self.wait_for("!window.isOld && document.readyState == 'complete'");
    }

    /// Types into fields and sends the form that has them, as a person would.
    pub(crate) fn submit(&mut self, button: &str, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            let script = format!(
                "{{ const field = document.getElementsByName({})[0]; field.focus(); field.value = {}; \
                 field.dispatchEvent(new Event('change', {{ bubbles: true }})); }}",
                json!(name),
                json!(value)
            );
            self.run(&script);
        }
        self.click(button);
    }

    /// Clicks on something that leads to another page, and waits until it is loaded.
    pub(crate) fn click(&mut self, selector: &str) {
        self.run("window.isOld = true");
        self.run(&format!(
            "document.querySelector({}).click()",
            json!(selector)
        ));
        self.wait_for("!window.isOld && document.readyState == 'complete'");
    }

    /// Chooses a file in a field.
    pub(crate) fn choose(&mut self, selector: &str, file: &Path) {
        let root = self.call("DOM.getDocument", &json!({}));
        let query = json!({ "nodeId": root["root"]["nodeId"], "selector": selector });
        let node = self.call("DOM.querySelector", &query);
        let files = json!({ "nodeId": node["nodeId"], "files": [file] });
        self.call("DOM.setFileInputFiles", &files);
    }

    /// The text that a person sees.
    pub(crate) fn text(&mut self) -> String {
        text(&self.run("document.body.innerText")).to_owned()
    }

    #[track_caller]
    pub(crate) fn sees(&mut self, what: &str) {
        let text = self.text();
        assert!(text.contains(what), "{what:?} is not in {text}");
    }

    #[track_caller]
    pub(crate) fn does_not_see(&mut self, what: &str) {
        let text = self.text();
        assert!(!text.contains(what), "{what:?} is in {text}");
    }

    /// The status with which the page was answered.
    pub(crate) fn status(&mut self) -> u64 {
        let status = self.run("performance.getEntriesByType('navigation')[0].responseStatus");
        status.as_u64().expect("a number")
    }

    /// The host and the path that the page is at.
    pub(crate) fn path(&mut self) -> String {
        text(&self.run("location.pathname")).to_owned()
    }

    /// The cookies of this address, as a request sends them.
    pub(crate) fn cookie(&mut self, url: &str, name: &str) -> Option<String> {
        let cookies = self.call("Network.getCookies", &json!({ "urls": [url] }));
        let cookies = cookies["cookies"].as_array().expect("a list");
        let cookie = cookies.iter().find(|cookie| cookie["name"] == name)?;
        Some(text(&cookie["value"]).to_owned())
    }

    pub(crate) fn set_cookie(&mut self, url: &str, name: &str, value: &str) {
        let cookie = json!({ "url": url, "name": name, "value": value });
        self.call("Network.setCookie", &cookie);
    }

    /// Evaluates a script in the page.
    pub(crate) fn run(&mut self, script: &str) -> Value {
        let script = json!({ "expression": script, "returnByValue": true, "awaitPromise": true });
        let mut answer = self.call("Runtime.evaluate", &script);
        assert_eq!(answer.get("exceptionDetails"), None, "{answer}");
        answer["result"]["value"].take()
    }

    /// Waits until a script is true. A page that is being left has no answer.
    pub(crate) fn wait_for(&mut self, script: &str) {
        let give_up = Instant::now() + PATIENCE;
        let wrapped = json!({ "expression": script, "returnByValue": true });
        loop {
            let answer = self.try_call("Runtime.evaluate", &wrapped);
            if answer["result"]["result"]["value"] == true {
                return;
            }
            assert!(Instant::now() < give_up, "waiting for {script}: {answer}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Writes what is seen into a file.
    pub(crate) fn screenshot(&mut self, file: &Path, (width, height): (u32, u32)) {
        let size = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
        });
        self.call("Emulation.setDeviceMetricsOverride", &size);
        // Fonts and images are there, and nothing moves any more.
        self.run("document.fonts.ready.then(() => new Promise((done) => setTimeout(done, 400)))");
        let shot = self.call("Page.captureScreenshot", &json!({ "format": "png" }));
        fs::write(file, from_base64(text(&shot["data"]))).expect("a file is written");
    }

    pub(crate) fn call(&mut self, method: &str, parameters: &Value) -> Value {
        let mut answer = self.try_call(method, parameters);
        assert_eq!(answer.get("error"), None, "{method} {parameters}");
        answer["result"].take()
    }

    fn try_call(&mut self, method: &str, parameters: &Value) -> Value {
        self.sent += 1;
        let mut message = json!({ "id": self.sent, "method": method, "params": parameters });
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let message = format!("{message}\0");
        let written = self.commands.write_all(message.as_bytes());
        written.expect("Chromium runs");
        loop {
            let answer = self.answers.recv_timeout(PATIENCE);
            let answer = answer.unwrap_or_else(|_| panic!("Chromium answers {method}"));
            if answer["id"] == self.sent {
                return answer;
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own processes end when the first one does.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Chromium's sandbox refuses root.
fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|output| output.stdout.starts_with(b"0\n"))
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |digit: u8| match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let digits: Vec<u32> = text.bytes().filter_map(value).map(u32::from).collect();
    let group = |four: &[u32]| {
        let bits = (0..4).fold(0, |bits, at| bits << 6 | four.get(at).unwrap_or(&0));
        let bytes = bits.to_be_bytes();
        bytes[1..four.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}
