//! What the program does, over plain HTTP.

#[path = "support/client.rs"]
mod client;
#[path = "support/server.rs"]
mod server;

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use chrono::{Days, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use serde_json::Value;
use tenant_schemas::testing::TestDatabase;

use client::{Client, Response};
use server::{OPERATOR, Server};

const PASSWORD: &str = "correct horse";

/// The public site, and what is signed up there.
struct Street {
    server: Server,
    public: Client,
    database: TestDatabase,
}

impl Street {
    fn empty() -> Self {
        Self::begin(false, Duration::ZERO)
    }

    fn begin(demo: bool, pace: Duration) -> Self {
        Self::on(TestDatabase::new().expect("a database"), demo, pace)
    }

    fn on(database: TestDatabase, demo: bool, pace: Duration) -> Self {
        let server = Server::start(&database, demo, pace);
        let public = Client::new(server.port, "localhost");
        Self {
            server,
            public,
            database,
        }
    }

    /// The database, without the program.
    fn sql(&self) -> PgConnection {
        PgConnection::establish(&self.database.url()).expect("a connection")
    }

    fn at(&self, label: &str) -> Client {
        Client::new(self.server.port, &format!("{label}.localhost"))
    }

    fn sign_up(&self, name: &str, label: &str, email: &str) -> Response {
        self.public.post(
            "/signup",
            &[
                ("name", name),
                ("subdomain", label),
                ("email", email),
                ("password", PASSWORD),
            ],
        )
    }

    /// A hotel that is open, with a room 101; as guests see it, and as its owner does.
    fn open(&self, name: &str, label: &str) -> (Client, Client) {
        let response = self.sign_up(name, label, "ada@example.com").is(303);
        let ticket = response
            .header("location")
            .expect("a place to watch")
            .to_owned();
        let progress = self.watch(&format!("{ticket}/progress"));
        assert_eq!(progress["state"], "ready", "{progress}");
        let guest = self.at(label);
        let owner = log_in(&guest);
        owner
            .post(
                "/desk/rooms",
                &[("number", "101"), ("name", "Blue"), ("price", "90")],
            )
            .is(303);
        (guest, owner)
    }

    /// Polls until it is over, as the page does.
    fn watch(&self, path: &str) -> Value {
        watch(&self.public, path)
    }

    fn operator(&self) -> Client {
        let response = self
            .public
            .post("/console/login", &[("password", OPERATOR)]);
        self.public.with_cookie(&response.is(303).cookie())
    }
}

fn watch(client: &Client, path: &str) -> Value {
    let patience = Instant::now() + Duration::from_mins(1);
    loop {
        let progress = serde_json::from_slice(&client.get(path).is(200).body);
        let progress: Value = progress.expect("JSON");
        if progress["state"] != "working" {
            return progress;
        }
        assert!(Instant::now() < patience, "{progress}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn log_in(guest: &Client) -> Client {
    let form = [("email", "ada@example.com"), ("password", PASSWORD)];
    let response = guest.post("/login", &form).is(303).leads_to("/desk");
    guest.with_cookie(&response.cookie())
}

/// Books room 1 of a hotel, which is the one with number 101, from so many days on for two nights.
fn book(guest: &Client, name: &str, ahead: u64) -> Response {
    let arrival = Utc::now().date_naive() + Days::new(ahead);
    let departure = arrival + Days::new(2);
    guest.post(
        "/bookings",
        &[
            ("room", "1"),
            ("guest", name),
            ("arrival", &arrival.to_string()),
            ("departure", &departure.to_string()),
        ],
    )
}

#[test]
fn what_the_database_keeps_in_no_text_is_refused_before_it() {
    let street = Street::empty();
    let (guest, owner) = street.open("Acme", "acme");
    book(&guest, "Grace", 1).is(303);
    guest.get("/bookings/%00").is(404);
    for path in ["/signup/%00", "/signup/%00/progress"] {
        street.public.get(path).is(404);
    }
    street.public.post("/signup/%00/again", &[]).is(404);
    street.sign_up("a\0b", "globex", "ada@example.com").is(422);
    book(&guest, "a\0b", 5).is(422);
    let form = [("email", "ada\0@example.com"), ("password", PASSWORD)];
    guest.post("/login", &form).is(401);
    for (number, name) in [("1\x002", "Red"), ("102", "R\0ed")] {
        let room = [("number", number), ("name", name), ("price", "90")];
        owner.post("/desk/rooms", &room).is(422);
    }
}

#[test]
fn two_hotels_have_the_same_room_and_see_their_own_guests_alone() {
    let street = Street::empty();
    let (acme, acme_owner) = street.open("Acme", "acme");
    let (globex, globex_owner) = street.open("Globex", "globex");
    for (guest, name) in [(&acme, "Hedy Lamarr"), (&globex, "Rosalind Franklin")] {
        let booked = book(guest, name, 0).is(303);
        let page = guest
            .get(booked.header("location").expect("a booking"))
            .is(200);
        page.says(name).says("Room 101 is yours");
    }
    // They are there to be leaked.
    acme_owner.get("/desk").is(200).says("Hedy Lamarr");
    globex_owner.get("/desk").is(200).says("Rosalind Franklin");
    acme_owner.get("/desk").hides("Rosalind");
    globex_owner.get("/desk").hides("Hedy");
}

#[test]
fn a_booking_can_be_looked_at_and_cancelled_at_its_own_hotel_alone() {
    let street = Street::empty();
    let (acme, acme_owner) = street.open("Acme", "acme");
    let (globex, globex_owner) = street.open("Globex", "globex");
    let booked = book(&acme, "Hedy Lamarr", 0).is(303);
    let reference = booked.header("location").expect("a booking").to_owned();
    acme.get(&reference).is(200).says("Hedy Lamarr");
    globex.get(&reference).is(404).hides("Hedy");
    // Booking 1 is there at the one, and not at the other.
    globex_owner.post("/desk/bookings/1/cancel", &[]).is(404);
    acme_owner.get("/desk").says("Hedy Lamarr");
    acme_owner.post("/desk/bookings/1/cancel", &[]).is(303);
    acme_owner.get("/desk").hides("Hedy");
    acme.get(&reference).is(404);
}

#[test]
fn of_many_who_book_the_same_nights_at_once_one_gets_the_room() {
    let street = Street::empty();
    let (acme, owner) = street.open("Acme", "acme");
    let start = Barrier::new(8);
    let responses: Vec<Response> = thread::scope(|scope| {
        let guests: Vec<_> = (0..8)
            .map(|guest| {
                let (acme, start) = (&acme, &start);
                scope.spawn(move || {
                    start.wait();
                    // One night of the two is the same for all.
                    book(acme, &format!("Guest {guest}"), guest % 2)
                })
            })
            .collect();
        guests
            .into_iter()
            .map(|guest| guest.join().expect("a guest"))
            .collect()
    });
    let won = responses
        .iter()
        .filter(|response| response.status == 303)
        .count();
    assert_eq!(won, 1);
    for response in responses
        .into_iter()
        .filter(|response| response.status != 303)
    {
        response.is(409).says("Someone was quicker").says("Guest ");
    }
    assert_eq!(
        owner.get("/desk").text().matches("class=\"stay\"").count(),
        1
    );
    // Who leaves in the morning makes room for who comes in the afternoon.
    book(&acme, "Next", 3).is(303);
}

#[test]
fn a_cookie_of_one_hotel_opens_nothing_at_another() {
    let street = Street::empty();
    let (_, acme_owner) = street.open("Acme", "acme");
    let (globex, _) = street.open("Globex", "globex");
    let response = street.at("acme").post(
        "/login",
        &[("email", "ada@example.com"), ("password", PASSWORD)],
    );
    let cookie = response.is(303).cookie();
    // It is good where it comes from, and the same user is known at the other.
    street.at("acme").with_cookie(&cookie).get("/desk").is(200);
    log_in(&globex).get("/desk").is(200);
    globex
        .with_cookie(&cookie)
        .get("/desk")
        .is(303)
        .leads_to("/login");
    let replay = globex.with_cookie(&cookie);
    replay
        .post("/desk/theme", &[("theme", "plum")])
        .is(303)
        .leads_to("/login");
    street
        .public
        .with_cookie(&cookie)
        .get("/console")
        .is(303)
        .leads_to("/console/login");
    // Who logs out is out, whoever still has the cookie.
    acme_owner.get("/desk").is(200);
    acme_owner.post("/logout", &[]).is(303);
    acme_owner.get("/desk").is(303).leads_to("/login");
}

#[test]
fn a_cookie_opens_nothing_at_a_copy_of_its_hotel() {
    let street = Street::empty();
    let (_, acme_owner) = street.open("Acme", "acme");
    let (globex, _) = street.open("Globex", "globex");
    // As a clone has it: the same user, the same session.
    street
        .sql()
        .batch_execute("INSERT INTO globex.sessions SELECT * FROM acme.sessions")
        .expect("the rows are copied");
    acme_owner.get("/desk").is(200);
    let mut replay = acme_owner.clone();
    replay.host.clone_from(&globex.host);
    replay.get("/desk").is(303).leads_to("/login");
}

#[test]
fn a_password_of_one_hotel_opens_nothing_at_another() {
    let street = Street::empty();
    let (_, acme_owner) = street.open("Acme", "acme");
    let (globex, _) = street.open("Globex", "globex");
    let form = [
        ("email", "bob@example.com"),
        ("password", "bob's own secret"),
    ];
    acme_owner.post("/desk/staff", &form).is(303);
    street.at("acme").post("/login", &form).is(303);
    globex
        .post("/login", &form)
        .is(401)
        .says("Nobody works here under this address");
}

#[test]
fn a_form_that_another_hotels_page_sends_is_refused() {
    let street = Street::empty();
    let (_, owner) = street.open("Acme", "acme");
    let port = street.server.port;
    let form = [("number", "102"), ("name", "Red"), ("price", "80")];
    let own = owner.sent_by(&format!("http://acme.localhost:{port}"));
    let others = owner.sent_by(&format!("http://globex.localhost:{port}"));
    others.post("/desk/rooms", &form).is(403);
    own.post("/desk/rooms", &form).is(303);
}

#[test]
fn an_unknown_host_is_answered_with_a_page() {
    let street = Street::empty();
    for host in [
        "nobody.localhost",
        "admin.localhost",
        "public.localhost",
        "127.0.0.1",
        "a.b.c",
    ] {
        let response = Client::new(street.server.port, host).get("/desk");
        let response = response
            .is(404)
            .says("No hotel lives here")
            .says("/static/app.css");
        assert_eq!(
            response.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        // Its styles come from the same host.
        Client::new(street.server.port, host)
            .get("/static/app.css")
            .is(200);
    }
    Client::new(street.server.port, "not a host")
        .get("/")
        .is(400)
        .says("We did not catch that");
    Client::new(street.server.port, "www.localhost")
        .get("/")
        .is(200)
        .says("The street is empty");
    street.public.get("/nothing").is(404).says("No such room");
}

#[test]
fn what_is_wrong_with_a_signup_stands_beside_the_field_and_the_rest_is_kept() {
    let street = Street::empty();
    let page = street.sign_up("Acme & Sons", "no such_name", "ada").is(422);
    page.says("Only letters from a to z")
        .says("an address like ada@example.com")
        .says("value=\"Acme &amp; Sons\"")
        .says("value=\"no such_name\"")
        .says("value=\"ada\"")
        .hides(PASSWORD);
    for reserved in ["www", "admin", "api", "static"] {
        street
            .sign_up("Acme", reserved, "ada@example.com")
            .is(422)
            .says("reserved");
    }
    street
        .sign_up("Acme", "pg-acme", "ada@example.com")
        .is(422)
        .says("can&#x27;t be an address");
    let short = [
        ("name", "A"),
        ("subdomain", "acme"),
        ("email", "a@b.c"),
        ("password", "short"),
    ];
    street
        .public
        .post("/signup", &short)
        .is(422)
        .says("Please choose another");
    street
        .public
        .post("/signup", &[])
        .is(422)
        .says("What is your hotel called?");
    street.public.get("/").says("The street is empty");
    street.open("Acme", "acme");
    street
        .sign_up("Other", "ACME", "eve@example.com")
        .is(422)
        .says("lives there already");
}

#[test]
fn a_hotel_is_opened_while_one_watches() {
    let street = Street::begin(false, Duration::from_millis(120));
    let response = street.sign_up("Acme", "acme", "ada@example.com").is(303);
    let ticket = response
        .header("location")
        .expect("a place to watch")
        .to_owned();
    street.at("acme").get("/").is(503).says("being set up");
    let mut seen = Vec::new();
    loop {
        let page = street.public.get(&ticket).is(200);
        page.says("acme.localhost");
        let progress = street.public.get(&format!("{ticket}/progress")).is(200);
        let progress: Value = serde_json::from_slice(&progress.body).expect("JSON");
        let done = progress["done"].as_u64().expect("a number");
        seen.push(done);
        if progress["state"] != "working" {
            assert_eq!(progress["state"], "ready", "{progress}");
            assert_eq!(progress["total"].as_u64(), Some(done));
            let steps = progress["steps"].to_string();
            assert!(steps.contains("create rooms") && steps.contains("create bookings"));
            break;
        }
        thread::sleep(Duration::from_millis(5));
    }
    assert!(seen.is_sorted(), "{seen:?}");
    seen.dedup();
    assert!(seen.len() > 1, "it was seen on its way: {seen:?}");
    street.at("acme").get("/").is(200).says("No rooms yet");
    street.public.get("/signup/guessed").is(404);
    street.public.get("/signup/guessed/progress").is(404);
}

#[test]
fn a_schema_that_is_someone_elses_is_neither_taken_nor_touched() {
    let street = Street::empty();
    let mut sql = street.sql();
    sql.batch_execute("CREATE SCHEMA acme; CREATE TABLE acme.precious (id int)")
        .expect("someone else's schema");
    let response = street.sign_up("Acme", "acme", "ada@example.com");
    response.is(422).says("lives there already");
    street.at("acme").get("/").is(404);
    sql.batch_execute("DROP TABLE acme.precious; DROP SCHEMA acme")
        .expect("it was left as it was");
    street.open("Acme", "acme");
}

/// Lets nobody create a schema, until `DROP EVENT TRIGGER no_schemas`.
const NO_SCHEMAS: &str = "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql \
     AS $$ BEGIN RAISE EXCEPTION 'no more schemas'; END $$; \
     CREATE EVENT TRIGGER no_schemas ON ddl_command_start WHEN TAG IN ('CREATE SCHEMA') \
     EXECUTE FUNCTION refuse()";

#[test]
fn an_opening_that_fails_says_so_and_is_tried_again() {
    let street = Street::empty();
    let mut sql = street.sql();
    sql.batch_execute(NO_SCHEMAS).expect("a trigger");
    let response = street.sign_up("Acme", "acme", "ada@example.com").is(303);
    let ticket = response.header("location").expect("a place to watch");
    let progress = street.watch(&format!("{ticket}/progress"));
    assert_eq!(progress["state"], "failed", "{progress}");
    let page = street.public.get(ticket).is(200);
    page.says("We could not open your hotel")
        .says("id=\"again\"")
        .hides("no more schemas");
    sql.batch_execute("DROP EVENT TRIGGER no_schemas")
        .expect("schemas are allowed");
    let again = street.public.post(&format!("{ticket}/again"), &[]);
    again.is(303).leads_to(ticket);
    let progress = street.watch(&format!("{ticket}/progress"));
    assert_eq!(progress["state"], "ready", "{progress}");
    log_in(&street.at("acme")).get("/desk").is(200);
    street.public.post("/signup/guessed/again", &[]).is(404);
}

#[test]
fn an_opening_that_fails_without_a_reason_is_not_forgotten() {
    let street = Street::empty();
    let mut sql = street.sql();
    let response = street.sign_up("First", "first", "ada@example.com").is(303);
    let ticket = response.header("location").expect("a place to watch");
    street.watch(&format!("{ticket}/progress"));
    // Neither the schema nor why there is none can be written; a sequence counts all the same.
    sql.batch_execute(
        "CREATE SEQUENCE tries; \
         CREATE FUNCTION count_and_refuse() RETURNS trigger LANGUAGE plpgsql \
         AS $$ BEGIN PERFORM nextval('public.tries'); RAISE EXCEPTION 'the disk is full'; END $$; \
         CREATE TRIGGER no_reasons BEFORE INSERT OR UPDATE ON __tenant_provisioning \
         FOR EACH ROW WHEN (NEW.reason IS NOT NULL) EXECUTE FUNCTION count_and_refuse()",
    )
    .expect("a trigger");
    sql.batch_execute(NO_SCHEMAS).expect("a trigger");
    let response = street.sign_up("Acme", "acme", "ada@example.com").is(303);
    let ticket = response.header("location").expect("a place to watch");
    let tried = "SELECT FROM tries WHERE is_called";
    let patience = std::time::Instant::now() + Duration::from_mins(1);
    while diesel::sql_query(tried).execute(&mut sql).expect("a count") == 0 {
        assert!(std::time::Instant::now() < patience, "nobody tries");
        std::thread::sleep(Duration::from_millis(20));
    }
    sql.batch_execute(
        "DROP EVENT TRIGGER no_schemas; DROP TRIGGER no_reasons ON __tenant_provisioning",
    )
    .expect("schemas are allowed");
    let progress = street.watch(&format!("{ticket}/progress"));
    assert_eq!(progress["state"], "ready", "{progress}");
}

#[test]
fn a_signup_that_was_interrupted_is_taken_up_again_at_the_next_start() {
    let street = Street::empty();
    let mut sql = street.sql();
    sql.batch_execute(NO_SCHEMAS).expect("a trigger");
    let response = street.sign_up("Acme", "acme", "ada@example.com").is(303);
    let ticket = response
        .header("location")
        .expect("a place to watch")
        .to_owned();
    street.watch(&format!("{ticket}/progress"));
    let Street {
        database, server, ..
    } = street;
    drop(server);
    // As if the program had ended before the job was done.
    sql.batch_execute("DROP EVENT TRIGGER no_schemas; UPDATE openings SET waiting = true")
        .expect("a job that waits");
    let kept = "SELECT password_hash FROM openings WHERE password_hash LIKE '$argon2id$%'";
    let kept = diesel::sql_query(kept);
    assert_eq!(kept.clone().execute(&mut sql).expect("the hash"), 1);
    let street = Street::on(database, false, Duration::ZERO);
    let progress = street.watch(&format!("{ticket}/progress"));
    assert_eq!(progress["state"], "ready", "{progress}");
    log_in(&street.at("acme")).get("/desk").is(200);
    // The hash is where it belongs, and there alone.
    assert_eq!(kept.execute(&mut sql).expect("no hash"), 0);
}

#[test]
fn a_name_that_nobody_is_to_open_is_free_after_a_restart() {
    let street = Street::empty();
    street.open("Globex", "globex");
    let mut sql = street.sql();
    sql.batch_execute(
        "INSERT INTO hotels (schema_name, domain_url, name, theme) \
         VALUES ('acme', 'acme.localhost', 'Acme', 'pine')",
    )
    .expect("the row of a demonstration that ended in the middle");
    drop(sql);
    let taken = street.sign_up("Acme", "acme", "ada@example.com");
    taken.is(422).says("lives there already");
    let Street {
        database, server, ..
    } = street;
    drop(server);
    let street = Street::on(database, false, Duration::ZERO);
    street.open("Acme", "acme");
    street.at("globex").get("/").is(200).says("Blue");
}

#[test]
fn a_logo_is_shown_at_its_own_hotel_alone() {
    let street = Street::empty();
    let (acme, owner) = street.open("Acme", "acme");
    let (globex, _) = street.open("Globex", "globex");
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), b"the rest of it"].concat();
    acme.get("/logo").is(200).says(">A</text>");
    owner.upload("/desk/logo", "logo", &png).is(303);
    let logo = acme.get("/logo").is(200);
    assert_eq!(logo.header("content-type"), Some("image/png"));
    assert_eq!(logo.body, png);
    globex.get("/logo").is(200).says(">G</text>");
    let script = b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>";
    owner
        .upload("/desk/logo", "logo", script)
        .is(422)
        .says("no PNG, JPEG or WebP");
    let large = [png.as_slice(), &vec![0; 300 * 1024]].concat();
    owner
        .upload("/desk/logo", "logo", &large)
        .is(422)
        .says("at most 256 kB");
    owner
        .upload("/desk/logo", "logo", b"")
        .is(422)
        .says("Choose a file");
    acme.upload("/desk/logo", "logo", &png)
        .is(303)
        .leads_to("/login");
    assert_eq!(acme.get("/logo").body, png);
}

#[test]
fn a_hotel_is_painted_and_the_next_request_shows_it() {
    let street = Street::empty();
    let (acme, owner) = street.open("Acme", "acme");
    let (globex, _) = street.open("Globex", "globex");
    acme.get("/").hides("#6b2f5c");
    owner.post("/desk/theme", &[("theme", "plum")]).is(303);
    acme.get("/").says("#6b2f5c");
    globex.get("/").hides("#6b2f5c");
    owner.post("/desk/theme", &[("theme", "url(x)")]).is(404);
}

#[test]
fn the_console_is_the_operators_alone() {
    let street = Street::empty();
    street.open("Acme", "acme");
    for (path, form) in [
        ("/console/migrate", [].as_slice()),
        ("/console/hotels/acme/suspend", &[]),
    ] {
        street
            .public
            .post(path, form)
            .is(303)
            .leads_to("/console/login");
    }
    street
        .public
        .get("/console")
        .is(303)
        .leads_to("/console/login");
    street
        .public
        .get("/console/progress")
        .is(303)
        .leads_to("/console/login");
    street
        .public
        .post("/console/login", &[("password", "wrong")])
        .is(401)
        .says("not the password");
    street.at("acme").get("/").is(200);
    street.operator().get("/console").is(200).says("acme");
    // It is on the public site, and not on a hotel's.
    street.at("acme").get("/console").is(404);
}

#[test]
fn a_suspended_hotel_is_closed_until_it_is_resumed() {
    let street = Street::empty();
    let (acme, owner) = street.open("Acme", "acme");
    let (globex, _) = street.open("Globex", "globex");
    let operator = street.operator();
    operator
        .post("/console/hotels/acme/suspend", &[])
        .is(303)
        .leads_to("/console");
    for path in ["/", "/desk", "/logo"] {
        owner.get(path).is(403).says("Closed for now");
    }
    globex.get("/").is(200);
    operator.get("/console").says("suspended");
    operator.post("/console/hotels/acme/resume", &[]).is(303);
    acme.get("/").is(200);
    operator.post("/console/hotels/nobody/suspend", &[]).is(404);
}

#[test]
fn the_operator_migrates_the_hotels_of_an_older_release() {
    let street = Street::begin(true, Duration::from_millis(5));
    let operator = street.operator();
    let page = operator.get("/console").is(200);
    page.says("A release is waiting")
        .says("Migrate 6 hotels")
        .says("2 pending");
    // The hotels are served meanwhile, by the program of the next release.
    let hotel = street.at("grand-miramar");
    hotel.get("/").is(200).says("Garden double");
    operator.post("/console/migrate", &[]).is(303);
    let progress = watch(&operator, "/console/progress");
    assert_eq!(progress["state"], "ready", "{progress}");
    assert_eq!(
        (progress["done"].as_u64(), progress["total"].as_u64()),
        (Some(12), Some(12))
    );
    assert_eq!(progress["steps"].as_array().map(Vec::len), Some(12));
    let page = operator.get("/console").is(200);
    page.says("Every hotel is up to date")
        .says("width: 100%")
        .hides("pending");
    hotel.get("/").is(200).says("Garden double");
    let owner = [("email", saas::OWNER), ("password", saas::PASSWORD)];
    hotel.post("/login", &owner).is(303);
    street
        .public
        .get("/")
        .is(200)
        .says("Grand Miramar")
        .says("6 hotels");
}

#[test]
fn what_a_guest_typed_wrongly_is_said_and_kept() {
    let street = Street::empty();
    let (acme, owner) = street.open("Acme", "acme");
    let form = [
        ("room", "1"),
        ("guest", "<b>Ada</b>"),
        ("arrival", "2020-01-01"),
        ("departure", ""),
    ];
    let page = acme.post("/bookings", &form).is(422);
    page.says("This day is over")
        .says("Which day do you leave?")
        .says("&lt;b&gt;Ada&lt;&#x2f;b&gt;");
    let today = Utc::now().date_naive();
    let (arrival, departure) = (today.to_string(), (today + Days::new(1)).to_string());
    let form = [
        ("room", "99"),
        ("guest", "Ada"),
        ("arrival", &arrival),
        ("departure", &departure),
    ];
    acme.post("/bookings", &form)
        .is(422)
        .says("There is no such room");
    let twice = [("number", "101"), ("name", "Red"), ("price", "80")];
    owner
        .post("/desk/rooms", &twice)
        .is(422)
        .says("There is a room of this number");
    let free = [("number", "103"), ("name", "Red"), ("price", "0")];
    owner.post("/desk/rooms", &free).is(422).says("Whole euros");
}

#[test]
fn nothing_of_another_place_is_loaded() {
    let street = Street::empty();
    let page = street.public.get("/").is(200);
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'self'"));
    for path in [
        "/static/app.css",
        "/static/live.js",
        "/static/icon.svg",
        "/static/street.svg",
    ] {
        let file = street.public.get(path).is(200);
        assert!(
            !file
                .text()
                .replace("http://www.w3.org/2000/svg", "")
                .contains("://"),
            "{path}"
        );
    }
}
