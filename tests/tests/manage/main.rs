//! The command line, run through a real binary (`program.rs`) against real databases.

mod copies; // clone, dump, restore
mod create_tenant; // a flag per field, prompts, the superuser, domains
mod exec; // SQL on many tenants, psql, fixtures
mod flags; // every flag, the test that shows what it changes, and tests of some
mod interrupt; // Ctrl-C
mod lifecycle; // list, rename, delete, missing schemas, domains
mod migrate; // migrate_schemas and sync_schemas
mod program_itself; // help, completions, exit codes, verbosity
mod standalone; // the library's commands below tenant_command and all_tenants_command
mod state_of_the_fleet; // status and doctor
mod support;
mod sync; // sync_schemas, step by step
mod tenant_commands; // users' own commands on one, on all
mod walks; // --jobs, --fail-fast, --exclude, --format of everything that goes over many tenants
