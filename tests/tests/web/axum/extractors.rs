//! Arguments of handlers, and what is said where they can't be had.

use axum::Router;
use axum::response::IntoResponse as _;
use axum::routing::get;
use tenant_schemas::Lifecycle as _;
use tenant_schemas::web::{PublicDb, Site, Tenant, TenantDb, Visit};

use super::server::{public, serve, tenants};
use crate::support::{Client, clients};
use crate::world::World;

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
fn a_route_without_a_site_says_what_is_to_be_done() {
    let served =
        serve(public().merge(Router::new().route("/add", get(|_: Tenant<Client>| async {}))));
    for (path, missing) in [
        ("/whoami", "Visit<"),
        ("/rooms", "TenantDb"),
        ("/plans", "PublicDb"),
        ("/add", "Visit<"),
    ] {
        let answer = served.get("acme.my-domain.com", path);
        assert_eq!(answer.status, 500, "{answer:?}");
        for words in [missing, "Site::routes", "Site::layer"] {
            assert!(answer.body.contains(words), "{answer:?}");
        }
    }
}

#[test]
fn a_site_of_another_tenant_model_is_none() {
    let world = World::new();
    let routes = Router::new()
        .route("/other", get(async |_: Tenant<Customer>| {}))
        .route("/maybe", get(async |_: Option<Tenant<Customer>>| {}));
    let served = serve(
        world
            .site()
            .build()
            .routes(public(), tenants().merge(routes)),
    );
    for path in ["/other", "/maybe"] {
        let answer = served.get("acme.my-domain.com", path);
        assert_eq!(answer.status, 500, "{answer:?}");
        assert!(answer.body.contains("Customer"), "{answer:?}");
    }
    served
        .get("acme.my-domain.com", "/whoami")
        .is(200, "tenant acme /whoami");
}

#[test]
fn what_belongs_to_tenants_is_optional_where_the_handler_says_so() {
    let world = World::new();
    let both = Router::new().route(
        "/both",
        get(
            async |tenant: Option<Tenant<Client>>, db: Option<TenantDb>, shared: PublicDb| {
                let tenant = tenant.map(|tenant| tenant.name.clone());
                let schema = db.map(|db| db.schema_name().to_string());
                format!("{tenant:?} {schema:?} {}", shared.schema_name())
            },
        ),
    );
    let site = world.site().bypass("/healthz").build();
    let bypassed = both.clone().route(
        "/healthz",
        get(async |db: Option<TenantDb>| db.is_none().to_string()),
    );
    let served = serve(site.routes(bypassed, both));
    let at_acme = served.get("acme.my-domain.com", "/both");
    at_acme.is(200, r#"Some("The acme") Some("acme") public"#);
    served
        .get("my-domain.com", "/both")
        .is(200, "None None public");
    served.get("acme.my-domain.com", "/healthz").is(200, "true");
}

#[test]
fn the_public_tenants_row_is_at_hand_where_it_led_there() {
    let world = World::new();
    let routes = Router::new().route(
        "/row",
        get(async |visit: Visit<Client>| match visit {
            Visit::Public(Some(row)) => row.domain_url.clone(),
            other => format!("{other:?}"),
        }),
    );
    let served = serve(world.site().build().routes(routes, Router::new()));
    served.get("my-domain.com", "/row").is(200, "my-domain.com");
}

#[test]
fn an_error_tells_a_stranger_nothing_of_what_is_inside() {
    let world = World::new();
    let missing = world.db.tenancy.schema(&"nobody".parse().expect("a name"));
    let response = missing.expect_err("there is none").into_response();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");

    let mut other = world.acme.clone();
    other.schema_name = "globex".parse().expect("a name");
    let error = other
        .save(&mut world.db.tenancy.public().expect("public"))
        .expect_err("it has another name");
    let response = error.into_response();
    assert_eq!(response.status(), 500);
    assert_eq!(response.headers().get("retry-after"), None);
    let body = crate::http::runtime().block_on(axum::body::to_bytes(response.into_body(), 1_000));
    assert_eq!(body.expect("a body"), "something went wrong");
}

#[test]
fn a_site_and_its_layer_are_for_many_threads() {
    fn is_for_servers<X: Clone + Send + Sync + 'static>(_: &X) {}
    let world = World::new();
    let site: Site<Client> = world.site().build();
    is_for_servers(&site);
    is_for_servers(&site.layer());
}
