//! The program on a port of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use saas::Config;
use tenant_schemas::testing::TestDatabase;
use tokio::runtime::Runtime;

pub(crate) const OPERATOR: &str = "the operator's password";

/// The program, for as long as this value is there.
pub(crate) struct Server {
    pub(crate) port: u16,
    _runtime: Runtime,
}

impl Server {
    /// Starts it, with the hotels of the demonstration if there are none, or without.
    pub(crate) fn start(database: &TestDatabase, demo: bool, pace: Duration) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let app = saas::app(&Config {
            database_url: database.url(),
            domain: "localhost".to_owned(),
            port,
            operator_password: OPERATOR.to_owned(),
            demo,
            pace,
        })
        .expect("the program starts");
        let runtime = Runtime::new().expect("a runtime");
        listener.set_nonblocking(true).expect("a listener");
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            axum::serve(listener, app).await.expect("it serves");
        });
        Self {
            port,
            _runtime: runtime,
        }
    }
}
