//! The quickstart on a server that others use.

use std::process::Command;

use quickstart::{Bookings, Client, Customers, Hotels};
use tenant_schemas::testing::TestTenancy;
use tenant_schemas::{Lifecycle as _, Tenancy};

#[test]
fn tenants_that_are_there_stay() -> Result<(), Box<dyn std::error::Error>> {
    let own =
        TestTenancy::<Client>::new(|builder| builder.app(Customers).app(Hotels).app(Bookings))?;
    let tenancy: &Tenancy<Client> = own.tenancy();
    // Under the names that the quickstart gives to its own.
    let mut conn = tenancy.public()?;
    Client::new("tenant1".parse()?, "tenant.my-domain.com")
        .name("Real")
        .save(&mut conn)?;
    let url = own.database().url();
    let mark = if url.contains('?') { '&' } else { '?' };
    // libpq connects to the database of the query, if there is one.
    for url in [format!("{url}{mark}dbname={}", own.database().name()), url] {
        let ran = Command::new(env!("CARGO_BIN_EXE_quickstart"))
            .env("DATABASE_URL", url)
            .output()?;
        assert!(ran.status.success(), "{ran:?}");
    }
    let kept = Client::by_schema(&mut conn, "tenant1")?.ok_or("it is gone")?;
    assert_eq!(kept.name, "Real");
    drop(tenancy.tenant(&kept)?);
    Ok(())
}
