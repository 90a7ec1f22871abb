//! What `docs/from-django.md` shows.

use std::error::Error;
use std::path::Path;

use diesel::prelude::*;
use diesel::sql_types::Text;
use serde::{Deserialize, Serialize};
use tenant_schemas::jobs::InTenant;
use tenant_schemas::jobs::celery::{CeleryError, CeleryTask, Delivery, Producer, Worker};
use tenant_schemas::{Tenancy, TenantConnection};

use crate::support::{Client, rooms};

pub(crate) fn take_over(tenancy: &Tenancy<Client>) -> tenant_schemas::Result<()> {
    tenancy.migrate().fake(true).run()?.into_result()?;
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct AddRoom {
    name: String,
}

impl CeleryTask for AddRoom {
    const NAME: &str = "rust.add_room";
    const PARAMETERS: &[&str] = &["name"]; // for arguments by position
}

fn add_room(conn: &mut TenantConnection, task: &Delivery<AddRoom>) -> QueryResult<i64> {
    diesel::sql_query("INSERT INTO rooms SELECT count(*) + 1, $1 FROM rooms")
        .bind::<Text, _>(&task.job.name)
        .execute(conn)?;
    rooms::table.count().get_result(conn)
}

pub(crate) fn worker(tenancy: Tenancy<Client>, url: &str) -> Result<Worker<Client>, CeleryError> {
    Ok(Worker::new(tenancy, url)?
        .queue("rust")
        .concurrency(4)
        .task(add_room))
}

#[derive(Serialize)]
struct AddRoomInPython {
    name: String,
}

impl CeleryTask for AddRoomInPython {
    const NAME: &str = "hotels.tasks.add_room";
}

pub(crate) fn send(url: &str, tenant: &Client, name: &str) -> Result<String, Box<dyn Error>> {
    let job = AddRoomInPython { name: name.into() };
    let producer = Producer::new(url)?.queue("python");
    Ok(producer.send(&InTenant::new(tenant, job)?)?)
}

#[test]
fn what_the_page_shows_is_what_these_tests_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect(path);
    let page = read("docs/from-django.md");
    let mut shown = 0;
    for part in page.split("\n<!-- ").skip(1) {
        let (path, part) = part.split_once(" -->\n```").expect("a block of code");
        let block = part.split_once('\n').expect("its language").1;
        let block = block.split_once("\n```").expect("its end").0;
        let source = read(path).replace("pub(crate) ", "");
        for item in block.split("\n\n") {
            assert!(source.contains(item), "{path} has no\n{item}");
        }
        shown += 1;
    }
    let blocks = page.lines().filter(|line| line.starts_with("```")).count();
    assert_eq!(shown * 2, blocks, "every block says where it is run");
}
