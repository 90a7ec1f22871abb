//! Runs Innkeep on a port of this machine, and says where.
//!
//! | variable | |
//! |---|---|
//! | `DATABASE_URL` | a database of yours; a private one that is gone afterwards if it is not set |
//! | `SAAS_DATA` | a directory in which the private one is kept |
//! | `PORT` | the port; the first that is free from 8080 if it is not set |
//! | `SAAS_OPERATOR_PASSWORD` | the operator's password; one is made up if it is not set |
//! | `SAAS_DEMO=0` | begins without hotels |
//! | `SAAS_PACE` | milliseconds that each migration takes longer, so that one can watch: 250 |

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use private_postgres::Server;
use saas::Config;
use tenant_schemas::BoxError;

const FIRST_PORT: u16 = 8080;

fn main() {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    if let Err(error) = run() {
        eprintln!("saas: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            eprintln!("  because: {error}");
            cause = error.source();
        }
        std::process::exit(1);
    }
}

fn run() -> Result<(), BoxError> {
    let listener = listen()?;
    let port = listener.local_addr()?.port();
    let (database_url, server) = database()?;
    let config = Config {
        database_url,
        domain: "localhost".to_owned(),
        port,
        operator_password: operator_password()?,
        demo: variable("SAAS_DEMO")?.is_none_or(|value| value != "0"),
        pace: pace()?,
    };
    println!("Opening the hotels ..");
    let app = saas::app(&config)?;
    welcome(&config, server.as_ref());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        axum::serve(listener, app).await
    })?;
    Ok(())
}

/// On `PORT`, or on the first port that is free.
fn listen() -> Result<TcpListener, BoxError> {
    let bind = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    if let Some(given) = variable("PORT")? {
        let port = given
            .parse()
            .map_err(|_| format!("PORT is {given:?}: it has to be a number up to 65535"))?;
        return bind(port).map_err(|error| {
            format!("port {port} can't be used ({error}): set PORT to another, or unset it").into()
        });
    }
    let last = FIRST_PORT + 100;
    (FIRST_PORT..last)
        .find_map(|port| bind(port).ok())
        .ok_or_else(|| {
            format!("no port from {FIRST_PORT} to {last} is free: set PORT to one that is").into()
        })
}

fn database() -> Result<(String, Option<Server>), BoxError> {
    if let Some(url) = variable("DATABASE_URL")? {
        return Ok((url, None));
    }
    let mut server = Server::builder();
    if let Some(directory) = variable("SAAS_DATA")? {
        server = server.keep_in(directory);
    }
    let server = server.start()?;
    Ok((server.url(), Some(server)))
}

fn operator_password() -> Result<String, BoxError> {
    Ok(match variable("SAAS_OPERATOR_PASSWORD")? {
        Some(password) => password,
        None => saas::made_up_password()?,
    })
}

fn pace() -> Result<Duration, BoxError> {
    let Some(given) = variable("SAAS_PACE")? else {
        return Ok(Duration::from_millis(250));
    };
    let pace = given
        .parse()
        .map_err(|_| format!("SAAS_PACE is {given:?}: it has to be a number of milliseconds"))?;
    Ok(Duration::from_millis(pace))
}

/// The value of a variable that is set, and not empty.
fn variable(name: &str) -> Result<Option<String>, BoxError> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        Err(error) => Err(format!("{name} can't be read: {error}").into()),
    }
}

fn welcome(config: &Config, server: Option<&Server>) {
    let Config { domain, port, .. } = config;
    let database = match server {
        Some(_) => "a private PostgreSQL, which goes when this program does",
        None => "that of DATABASE_URL",
    };
    println!("\n  Innkeep is open. The database is {database}.\n");
    println!("  the public site         http://{domain}:{port}/");
    println!("  the operator's console  http://{domain}:{port}/console");
    println!("    password: {}", config.operator_password);
    if config.demo {
        println!("  a hotel                 http://grand-miramar.{domain}:{port}/");
        println!("  its front desk          http://grand-miramar.{domain}:{port}/desk");
        println!("    {}, password: {}", saas::OWNER, saas::PASSWORD);
    }
    println!("\n  Ctrl-C closes it.");
}
