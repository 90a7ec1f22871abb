//! Starts a server, says how long that took, and holds it until standard input ends.

use std::io::Read as _;
use std::time::Instant;

use private_postgres::Server;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let begin = Instant::now();
    let server = Server::start()?;
    eprintln!("PostgreSQL {} after {:?}", server.major(), begin.elapsed());
    println!("{}", server.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    let begin = Instant::now();
    drop(server);
    eprintln!("gone after {:?}", begin.elapsed());
    Ok(())
}
