//! Arguments of handlers, and what is said where they can't be had.

use actix_web::body::to_bytes;
use actix_web::{App, ResponseError as _, Route, web};
use diesel::connection::SimpleConnection as _;
use tenant_schemas::web::actix::{SiteMiddleware, public_only, tenants_only};
use tenant_schemas::web::{PublicDb, Tenant, TenantDb, Visit};
use tenant_schemas::{Lifecycle as _, Result};

use super::server::{public, scopes, serve, tenants};
use crate::checks::log_of;
use crate::support::{Client, clients};
use crate::world::World;

/// A route that asks for a tenant.
fn row() -> Route {
    web::get().to(async |_: Tenant<Client>| "")
}

/// Another tenant model over the same table.
#[derive(
    Debug, Clone, PartialEq, diesel::Queryable, diesel::Selectable, tenant_schemas::TenantModel,
)]
#[diesel(table_name = clients)]
struct Customer {
    id: i32,
    schema_name: tenant_schemas::SchemaName,
    domain_url: String,
    name: String,
    #[tenant(default = true)]
    on_trial: bool,
}

#[test]
fn a_route_without_a_site_is_a_mistake_of_the_programs() {
    let served = serve(|| App::new().configure(public).route("/row", row()));
    for path in ["/whoami", "/rooms", "/plans", "/row"] {
        let answer = served.get("acme.my-domain.com", path);
        answer.is(500, "something went wrong");
    }
}

#[test]
fn a_site_of_another_tenant_model_is_none() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || {
        App::new()
            .wrap(site.middleware())
            .configure(tenants)
            .route("/other", web::get().to(async |_: Tenant<Customer>| ""))
            .route(
                "/maybe",
                web::get().to(async |other: Option<Tenant<Customer>>| other.is_none().to_string()),
            )
    });
    served
        .get("acme.my-domain.com", "/other")
        .is(500, "something went wrong");
    served.get("acme.my-domain.com", "/maybe").is(200, "true");
    served
        .get("acme.my-domain.com", "/whoami")
        .is(200, "tenant acme /whoami");
}

#[test]
fn what_belongs_to_tenants_is_404_elsewhere_or_optional() {
    async fn both(
        tenant: Option<Tenant<Client>>,
        db: Option<TenantDb>,
        shared: PublicDb,
    ) -> String {
        let tenant = tenant.map(|tenant| tenant.name.clone());
        let schema = db.map(|db| db.schema_name().to_string());
        format!("{tenant:?} {schema:?} {}", shared.schema_name())
    }
    let world = World::new();
    let site = world.site().bypass("/static").build();
    let served = serve(move || {
        App::new()
            .wrap(site.middleware())
            .route("/both", web::get().to(both))
            .route("/static/both", web::get().to(both))
            .route("/static/row", row())
            .route("/row", row())
            .route("/db", web::get().to(async |_: TenantDb| ""))
    });
    served
        .get("acme.my-domain.com", "/both")
        .is(200, r#"Some("The acme") Some("acme") public"#);
    served
        .get("my-domain.com", "/both")
        .is(200, "None None public");
    served
        .get("acme.my-domain.com", "/static/both")
        .is(200, "None None public");
    for path in ["/row", "/db", "/static/row"] {
        served
            .get("my-domain.com", path)
            .is(404, "there is nothing at this address");
    }
    served.get("acme.my-domain.com", "/row").is(200, "");
    served.get("acme.my-domain.com", "/db").is(200, "");
}

#[test]
fn the_public_tenants_row_is_at_hand_where_it_led_there() {
    let world = World::new();
    let site = world.site().build();
    let served = serve(move || {
        let row = web::get().to(async |visit: Visit<Client>| match visit {
            Visit::Public(Some(row)) => row.domain_url.clone(),
            other => format!("{other:?}"),
        });
        App::new().wrap(site.middleware()).route("/row", row)
    });
    served.get("my-domain.com", "/row").is(200, "my-domain.com");
    served
        .get("acme.my-domain.com", "/row")
        .is(200, "Tenant(acme)");
}

#[test]
fn an_error_tells_a_stranger_nothing_of_what_is_inside() {
    let world = World::new();
    let missing = world.db.tenancy.schema(&"nobody".parse().expect("a name"));
    let missing = missing.expect_err("there is none");
    assert_eq!(missing.status_code(), 503);
    let response = missing.error_response();
    assert_eq!(response.status(), 503);
    assert_eq!(
        response.headers().get("retry-after").expect("it is there"),
        "1"
    );

    let mut other = world.acme.clone();
    other.schema_name = "globex".parse().expect("a name");
    let error = other
        .save(&mut world.db.tenancy.public().expect("public"))
        .expect_err("it has another name");
    assert_eq!(error.status_code(), 500);
    let response = error.error_response();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers().get("retry-after"), None);
    let body = crate::http::runtime().block_on(to_bytes(response.into_body()));
    assert_eq!(body.expect("a body"), "something went wrong");
}

#[test]
fn an_error_tells_the_log_all_its_causes() {
    let world = World::new();
    let logged = log_of(|| {
        let site = world.site().build();
        let served = serve(move || {
            let fails = web::get().to(async |db: TenantDb| -> Result<String> {
                db.run(|conn| {
                    conn.batch_execute("TABLE never_made")?;
                    Ok(String::new())
                })
                .await
            });
            App::new().wrap(site.middleware()).route("/fails", fails)
        });
        served
            .get("acme.my-domain.com", "/fails")
            .is(500, "something went wrong");
    });
    let told = "a request failed: the query failed: relation \"never_made\" does not exist";
    assert_eq!(logged.matches(told).count(), 1, "{logged}");
}

#[test]
fn a_route_without_a_site_is_in_the_log_with_what_is_to_be_done() {
    let logged = log_of(|| {
        let served = serve(|| App::new().configure(scopes).route("/row", row()));
        served
            .get("acme.my-domain.com", "/row")
            .is(500, "something went wrong");
        assert_eq!(served.get("acme.my-domain.com", "/rooms").status, 404);
    });
    for told in [
        "a handler asks for `tenant_schemas::web::site::Visit<web::support::Client>`",
        "a guard for tenants or the public lets nothing through",
    ] {
        assert!(logged.contains(told), "{logged}");
    }
}

#[test]
fn the_middleware_and_the_guards_are_made_once_or_for_each_worker() {
    fn is_for_many_threads<X: Clone + Send + Sync + 'static>(_: &X) {}
    let world = World::new();
    let middleware: SiteMiddleware<Client> = world.site().build().middleware();
    is_for_many_threads(&middleware);
    is_for_many_threads(&tenants_only());
    is_for_many_threads(&public_only());
    let served = serve(move || App::new().wrap(middleware.clone()).configure(tenants));
    served
        .get("acme.my-domain.com", "/rooms")
        .is(200, "acme's own");
}
