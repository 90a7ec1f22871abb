//! What the program does, as someone sees it who clicks through it.
//!
//! It needs Chromium; without it, this prints SKIPPED and passes.
//!
//! `SCREENSHOTS=examples/saas/screenshots cargo test -p saas --test browser` writes the
//! pictures of the README.

#[path = "support/chromium.rs"]
mod chromium;
#[path = "support/server.rs"]
mod server;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use chrono::{Days, Utc};
use serde_json::json;
use tenant_schemas::testing::TestDatabase;

use chromium::Browser;
use server::{OPERATOR, Server};

const PASSWORD: &str = "correct horse";

/// Whether a hotel is open, on the page that watches it.
const READY: &str = "document.querySelector('[data-state]').dataset.state == 'ready'";

/// How far a bar is.
const BAR: &str = "parseInt(document.querySelector('[data-bar]').style.width)";

/// A PNG of one red pixel.
const PIXEL: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 2, 0,
    0, 0, 144, 119, 83, 222, 0, 0, 0, 12, 73, 68, 65, 84, 8, 215, 99, 248, 207, 192, 0, 0, 3, 1, 1,
    0, 24, 221, 141, 176, 0, 0, 0, 0, 73, 69, 78, 68, 174, 66, 96, 130,
];

/// The program, and someone who looks at it.
struct Visit {
    server: Server,
    browser: Browser,
    _database: TestDatabase,
}

impl Visit {
    fn begin(demo: bool, pace: u64) -> Option<Self> {
        let Some(program) = chromium::find() else {
            // Past the test runner, which keeps for itself what passing tests print.
            let line =
                b"SKIPPED: a real browser: apt-get install chromium, or name one in CHROMIUM\n";
            let _ = std::io::stderr().write_all(line);
            return None;
        };
        let database = TestDatabase::new().expect("a database");
        Some(Self {
            server: Server::start(&database, demo, Duration::from_millis(pace)),
            browser: Browser::start(&program),
            _database: database,
        })
    }

    fn public(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.server.port)
    }

    fn at(&self, label: &str, path: &str) -> String {
        format!("http://{label}.localhost:{}{path}", self.server.port)
    }

    fn open(&mut self, url: &str) {
        self.browser.open(url);
    }

    /// Signs up, watches, and makes room 101. Leaves the owner at the front desk.
    fn open_hotel(&mut self, name: &str, label: &str) {
        let signup = self.public("/");
        self.open(&signup);
        self.browser.click("a[href='/signup']");
        let form = [
            ("name", name),
            ("subdomain", label),
            ("email", "ada@example.com"),
            ("password", PASSWORD),
        ];
        self.browser.submit("form button", &form);
        self.browser
            .sees(&format!("{}.LOCALHOST", label.to_uppercase()));
        self.browser.wait_for(READY);
        self.browser.sees("The doors are open");
        self.browser.sees("create bookings");
        let width = self
            .browser
            .run("document.querySelector('[data-bar]').style.width");
        assert_eq!(width, "100%");
        self.browser.click("#enter");
        self.browser.sees("No rooms yet");
        let desk = self.at(label, "/desk");
        self.log_in(&desk, "ada@example.com", PASSWORD);
        let room = [
            ("number", "101"),
            ("name", "Garden double"),
            ("price", "90"),
        ];
        self.browser.submit("#add-room", &room);
    }

    fn log_in(&mut self, desk: &str, email: &str, password: &str) {
        self.open(desk);
        assert_eq!(self.browser.path(), "/login");
        let form = [("email", email), ("password", password)];
        self.browser.submit("form button", &form);
        assert_eq!(self.browser.path(), "/desk");
    }

    fn book(&mut self, label: &str, guest: &str, ahead: u64) {
        let lobby = self.at(label, "/");
        self.open(&lobby);
        let arrival = Utc::now().date_naive() + Days::new(ahead);
        let departure = arrival + Days::new(2);
        let form = [
            ("room", "1"),
            ("guest", guest),
            ("arrival", &arrival.to_string()),
            ("departure", &departure.to_string()),
        ];
        self.browser.submit("#book", &form);
    }
}

#[test]
fn two_hotels_are_opened_and_each_sees_its_own_alone() {
    let Some(mut visit) = Visit::begin(false, 20) else {
        return;
    };
    visit.open_hotel("Grand Budapest", "budapest");
    visit.open_hotel("Overlook", "overlook");
    for (label, guest) in [("budapest", "Madame D."), ("overlook", "Jack Torrance")] {
        visit.book(label, guest, 0);
        visit.browser.sees("Room 101 is yours");
    }
    // They are there to be leaked.
    for (label, own, other) in [
        ("budapest", "Madame D.", "Jack Torrance"),
        ("overlook", "Jack Torrance", "Madame D."),
    ] {
        let desk = visit.at(label, "/desk");
        visit.open(&desk);
        assert_eq!(visit.browser.path(), "/desk");
        visit.browser.sees(own);
        visit.browser.does_not_see(other);
    }
    // The second guest of the same nights is told kindly, and what was typed is kept.
    visit.book("overlook", "Wendy", 1);
    assert_eq!(visit.browser.status(), 409);
    visit.browser.sees("Someone was quicker");
    assert_eq!(
        visit
            .browser
            .run("document.getElementsByName('guest')[0].value"),
        "Wendy"
    );
}

#[test]
fn of_two_windows_that_book_at_once_one_gets_the_room() {
    let Some(mut visit) = Visit::begin(false, 0) else {
        return;
    };
    visit.open_hotel("Overlook", "overlook");
    let lobby = visit.at("overlook", "/");
    visit.open(&lobby);
    // More than once: how the six meet is not the same each time.
    for night in 0..8 {
        let arrival = Utc::now().date_naive() + Days::new(night);
        let departure = arrival + Days::new(1);
        let body = format!("room=1&guest=Danny&arrival={arrival}&departure={departure}");
        let script = format!(
            "Promise.all(Array.from({{ length: 6 }}, () => fetch('/bookings', {{ method: 'POST', body: '{body}', \
             headers: {{ 'content-type': 'application/x-www-form-urlencoded' }} }})\
             .then((response) => response.status))).then((all) => all.sort().join())"
        );
        assert_eq!(visit.browser.run(&script), "200,409,409,409,409,409");
    }
}

#[test]
fn a_cookie_that_is_taken_to_another_hotel_opens_nothing() {
    let Some(mut visit) = Visit::begin(false, 0) else {
        return;
    };
    visit.open_hotel("Grand Budapest", "budapest");
    visit.open_hotel("Overlook", "overlook");
    let (budapest, overlook) = (visit.at("budapest", "/desk"), visit.at("overlook", "/desk"));
    let cookie = visit
        .browser
        .cookie(&budapest, "session")
        .expect("a session");
    let other = visit
        .browser
        .cookie(&overlook, "session")
        .expect("a session");
    assert_ne!(cookie, other);
    visit.open(&overlook);
    assert_eq!(visit.browser.path(), "/desk");
    visit.browser.set_cookie(&overlook, "session", &cookie);
    visit.open(&overlook);
    assert_eq!(visit.browser.path(), "/login");
    // It still is good where it comes from.
    visit.open(&budapest);
    assert_eq!(visit.browser.path(), "/desk");
}

#[test]
fn a_logo_is_uploaded_and_seen_at_its_own_hotel_alone() {
    let Some(mut visit) = Visit::begin(false, 0) else {
        return;
    };
    visit.open_hotel("Overlook", "overlook");
    visit.open_hotel("Grand Budapest", "budapest");
    let file = env::temp_dir().join(format!("saas-logo-{}.png", std::process::id()));
    fs::write(&file, PIXEL).expect("a file");
    let settings = visit.at("budapest", "/desk/settings");
    visit.open(&settings);
    visit.browser.choose("#logo", &file);
    visit.browser.click("#hang");
    let kind = "fetch('/logo').then((logo) => logo.headers.get('content-type'))";
    assert_eq!(visit.browser.run(kind), "image/png");
    let width = "document.querySelector('.brand img').naturalWidth";
    assert_eq!(visit.browser.run(width), 1);
    let other = visit.at("overlook", "/");
    visit.open(&other);
    assert_eq!(visit.browser.run(kind), "image/svg+xml");
    let _ = fs::remove_file(file);
}

#[test]
fn the_operator_migrates_with_a_bar_and_closes_a_hotel() {
    let Some(mut visit) = Visit::begin(true, 60) else {
        return;
    };
    let console = visit.public("/console");
    visit.open(&console);
    visit
        .browser
        .submit("form button", &[("password", OPERATOR)]);
    visit.browser.sees("A release is waiting");
    visit.browser.sees("2 pending");
    visit.browser.click("#migrate");
    visit.browser.sees("Rolling out the release");
    // The bar is seen on its way, and at its end, before the page is loaded anew.
    visit.browser.wait_for(&format!("{BAR} > 0 && {BAR} < 100"));
    visit.browser.wait_for(&format!("{BAR} == 100"));
    visit
        .browser
        .wait_for("document.body.innerText.includes('Every hotel is up to date')");
    visit.browser.sees("12 of 12 migrations are done");
    visit.browser.does_not_see("pending");

    let hotel = visit.at("casa-azul", "/");
    visit.open(&hotel);
    assert_eq!(visit.browser.status(), 200);
    visit.open(&console);
    visit.browser.click("#hotel-casa_azul .danger");
    visit.browser.sees("suspended");
    visit.open(&hotel);
    assert_eq!(visit.browser.status(), 403);
    visit.browser.sees("Closed for now");
    visit.open(&console);
    visit.browser.click("#hotel-casa_azul .link");
    visit.open(&hotel);
    assert_eq!(visit.browser.status(), 200);
}

#[test]
fn a_host_where_nobody_lives_has_a_page_with_a_way_home() {
    let Some(mut visit) = Visit::begin(false, 0) else {
        return;
    };
    let nowhere = visit.at("nowhere", "/rooms");
    visit.open(&nowhere);
    assert_eq!(visit.browser.status(), 404);
    visit.browser.sees("No hotel lives here");
    // It has its styles.
    let radius = "getComputedStyle(document.querySelector('.door')).borderTopLeftRadius";
    assert_eq!(visit.browser.run(radius), "80px");
    visit.browser.click(".button");
    visit.browser.sees("The street is empty");
}

/// The pictures of the README; with `SCREENSHOTS_ALL`, of every page for whoever changes them.
#[test]
fn pictures_are_taken_if_they_are_asked_for() {
    let Some(directory) = env::var_os("SCREENSHOTS") else {
        return;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let directory = root.join(directory);
    fs::create_dir_all(&directory).expect("a directory");
    let mut camera = Camera {
        visit: Visit::begin(true, 250).expect("Chromium"),
        directory,
        all: env::var_os("SCREENSHOTS_ALL").is_some(),
    };
    camera.public_site();
    camera.hotel();
    camera.console();
    camera.in_the_dark();
}

struct Camera {
    visit: Visit,
    directory: PathBuf,
    all: bool,
}

const WIDE: (u32, u32) = (1100, 760);
const TALL: (u32, u32) = (1100, 900);
const NARROW: (u32, u32) = (390, 1500);

impl Camera {
    /// For the README.
    fn shoot(&mut self, name: &str, size: (u32, u32)) {
        let file = self.directory.join(format!("{name}.png"));
        self.visit.browser.screenshot(&file, size);
    }

    /// For whoever changes the pages.
    fn study(&mut self, name: &str, size: (u32, u32)) {
        if self.all {
            self.shoot(name, size);
        }
    }

    fn public_site(&mut self) {
        self.visit.open(&self.visit.public("/"));
        self.shoot("landing", WIDE);
        self.study("landing-whole", (1100, 1400));
        self.study("landing-narrow", (390, 2400));
        self.visit.open(&self.visit.at("nowhere", "/"));
        self.shoot("not-found", (1100, 620));

        self.visit.open(&self.visit.public("/signup"));
        self.study("signup", TALL);
        let wrong = [("subdomain", "www"), ("email", "ada"), ("password", "no")];
        self.visit.browser.submit("form button", &wrong);
        self.study("signup-wrong", TALL);
        self.study("signup-narrow", NARROW);
        let fine = [
            ("name", "Grand Budapest"),
            ("subdomain", "budapest"),
            ("email", "ada@example.com"),
            ("password", PASSWORD),
        ];
        self.visit.browser.submit("form button", &fine);
        let some = "document.querySelectorAll('.done').length > 1";
        self.visit.browser.wait_for(some);
        self.shoot("progress", WIDE);
        self.visit.browser.wait_for(READY);
        self.study("progress-done", WIDE);
        self.visit.browser.click("#enter");
        self.study("hotel-empty", WIDE);
    }

    fn hotel(&mut self) {
        let label = "grand-miramar";
        self.visit.open(&self.visit.at(label, "/"));
        self.shoot("hotel", TALL);
        self.study("hotel-narrow", NARROW);
        self.visit.book(label, "Hedy Lamarr", 0);
        self.study("hotel-taken", TALL);
        self.visit.book(label, "Hedy Lamarr", 30);
        self.study("booked", WIDE);
        let desk = self.visit.at(label, "/desk");
        self.visit.open(&desk);
        self.study("login", WIDE);
        self.visit.log_in(&desk, saas::OWNER, saas::PASSWORD);
        self.shoot("desk", TALL);
        self.study("desk-narrow", NARROW);
        self.visit.open(&self.visit.at(label, "/desk/settings"));
        self.study("settings", WIDE);
        self.study("settings-narrow", NARROW);
    }

    fn console(&mut self) {
        self.visit.open(&self.visit.public("/console"));
        self.study("console-login", WIDE);
        let form = [("password", OPERATOR)];
        self.visit.browser.submit("form button", &form);
        self.study("console-waiting", TALL);
        self.visit.browser.click("#migrate");
        self.visit.browser.wait_for(&format!("{BAR} > 30"));
        self.shoot("console", TALL);
        let done = "document.body.innerText.includes('Every hotel is up to date')";
        self.visit.browser.wait_for(done);
        self.study("console-done", TALL);
        self.study("console-narrow", NARROW);
        self.visit.browser.click("#hotel-casa_azul .danger");
        self.study("console-suspended", TALL);
        self.visit.open(&self.visit.at("casa-azul", "/"));
        self.study("suspended", WIDE);
    }

    fn in_the_dark(&mut self) {
        let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
        self.visit.browser.call("Emulation.setEmulatedMedia", &dark);
        for (name, url) in [
            ("landing-dark", self.visit.public("/")),
            ("hotel-dark", self.visit.at("grand-miramar", "/")),
            ("desk-dark", self.visit.at("grand-miramar", "/desk")),
            ("console-dark", self.visit.public("/console")),
            ("not-found-dark", self.visit.at("nowhere", "/")),
        ] {
            self.visit.open(&url);
            self.study(name, TALL);
        }
    }
}
