//! What tenancy costs, each question with its floor measured beside it in the same run.
//!
//! ```text
//! cargo run --release -p tenant-schemas-benches -- request --tenants 10,200
//! ```
//!
//! `README.md` beside this has the questions, and says how to read the answers.

mod cpu;
mod groups;
mod measure;
mod messages;
mod plot;
mod psql;
mod report;
mod server;
mod threads;
mod traffic;
mod workload;

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum as _};

use crate::groups::Name;
use crate::report::Run;
use crate::server::Bench;

type Failure = Box<dyn std::error::Error + Send + Sync>;
type Result<T, E = Failure> = std::result::Result<T, E>;

/// Measures what tenancy costs, each thing beside its floor
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// What to measure [default: everything]
    #[arg(value_name = "GROUP")]
    groups: Vec<Name>,
    /// How many tenants there are, one number after the other
    #[arg(long, value_delimiter = ',', default_value = "10,200,1000")]
    tenants: Vec<usize>,
    /// Only see whether everything runs: a few operations, whose times mean nothing
    #[arg(long)]
    quick: bool,
    /// Where to write the tables, the JSON and the plots
    #[arg(long, value_name = "DIRECTORY")]
    out: Option<PathBuf>,
    /// Keep the server's data here, so that the next run finds the tenants that this one makes
    #[arg(long, value_name = "DIRECTORY")]
    keep: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw the plots anew from the JSON that is there
    Plot { results: PathBuf },
}

fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Command::Plot { results }) = &args.command {
        return plot::redraw(results);
    }
    let bench = Bench::start(&args)?;
    let run = Run::describe(&bench)?;
    let groups = if args.groups.is_empty() {
        Name::value_variants()
    } else {
        &args.groups
    };
    for name in groups {
        let group = name.run(&bench)?;
        println!("{}", report::text(&run, &group));
        if let Some(out) = &args.out {
            report::write(out, &run, &group)?;
        }
    }
    Ok(())
}
