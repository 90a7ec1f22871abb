//! `create_tenant`: a row, a schema with every migration, domains, a superuser.

use clap::{Arg, ArgAction, ArgMatches, Args as _, FromArgMatches as _};
use diesel::Connection as _;

use crate::error::BoxError;
use crate::model::TenantModel;
use crate::provision::{Lifecycle as _, SaveOptions};

use super::context::Context;
use super::entry::Entry;
use super::form;
use super::options;
use super::outcome::{Done, Exit, Failure};
use super::superuser::{self, Credentials};
use super::table::count;
use super::targets;
use super::tenant_command::usage;
use super::ui;

const NAME: &str = "create_tenant";
const ADOPT: &str = "adopt";
const SUPERUSER: &str = "superuser";

/// The command for the tenancy's model.
pub(super) fn entry<T: TenantModel>() -> Entry<T> {
    Entry::new(NAME, clap::<T>(), run)
}

fn clap<T: TenantModel>() -> clap::Command {
    let clap = clap::Command::new(NAME)
        .about("Creates a tenant: its row, its schema with every migration, and its domains")
        .long_about(
            "Creates a tenant: its row, its schema with every migration, and its domains. \
             All or nothing: if anything fails, nothing is left. Migrations that can't run in a transaction, \
             and what has to wait for them, come after it: if they fail, the tenant stays, and what is left \
             to do is said.\n\n\
             The options under `Tenant` are the fields of the model. On a terminal, those that are not \
             given are asked for, with their defaults; elsewhere those without a default have to be given.",
        );
    let clap = options::arguments::<T>(clap, options::note)
        .arg(
            Arg::new(ADOPT)
                .long(ADOPT)
                .action(ArgAction::SetTrue)
                .help("Take over a schema that exists, and migrate it, instead of creating one"),
        )
        .arg(
            Arg::new(SUPERUSER)
                .short('s')
                .long(SUPERUSER)
                .action(ArgAction::SetTrue)
                .help_heading("Superuser")
                .help("Create a superuser of the tenant as well"),
        );
    Credentials::augment_args(clap.next_help_heading("Superuser"))
}

fn run<T: TenantModel>(matches: &ArgMatches, context: &Context<T>) -> Done {
    let credentials = Credentials::from_arg_matches(matches).map_err(usage)?;
    let superuser = matches.get_flag(SUPERUSER);
    if credentials.any() && !superuser {
        let mut lines = vec![
            "`--username`, `--email` and `--password-stdin` are about a superuser: add `-s`"
                .to_owned(),
        ];
        lines.extend(
            options::renamed::<T>(&Credentials::OPTIONS)
                .map(|(field, option)| format!("the tenant's own field `{field}` is `--{option}`")),
        );
        return Err(Failure::Usage(lines.join("; ")));
    }
    let asks = form::asks(matches, context);
    let missing = if superuser && !asks {
        credentials.missing()
    } else {
        Vec::new()
    };
    let (mut tenant, domains) = form::tenant(matches, None, missing, context)?;
    let tenancy = context.tenancy()?;
    let mut user = if superuser {
        let check = |name: &str| superuser::can_be_a_name(name, &*context.superusers, tenancy);
        Some(credentials.user(asks, context, check)?)
    } else {
        None
    };
    let options = if matches.get_flag(ADOPT) {
        SaveOptions::new().adopt()
    } else {
        SaveOptions::new()
    };
    let name = user.as_ref().map(|user| user.username.clone());
    let superusers = &context.superusers;
    let saved = tenancy.public()?.transaction(|conn| {
        let saved = tenant.save_with(conn, options)?;
        form::insert_domains(&tenant, &domains, tenancy, conn)?;
        // Their table may be made by what waits for the commit.
        if let Some(user) = user.take_if(|_| saved.left == 0) {
            conn.with_tenant(&tenant, |conn| superusers.create_superuser(conn, user))?;
        }
        Ok::<_, BoxError>(saved)
    })?;
    for failure in &saved.listener_failures {
        ui::warn(&failure.to_string());
    }
    let schema = tenant.schema_name();
    let migrated = if saved.provisioned {
        targets::require_migrated(tenancy, schema)
    } else {
        Ok(())
    };
    if let Some(user) = user {
        let created = migrated.and_then(|()| {
            let mut conn = tenancy.tenant(&tenant)?;
            Ok(superusers.create_superuser(&mut conn, user)?)
        });
        if created.is_err() {
            ui::warn(&format!(
                "tenant {schema} is there without its superuser: \
                 `create_tenant_superuser --schema={schema}` creates one"
            ));
        }
        created?;
    } else {
        migrated?;
    }
    let name = name.map_or_else(String::new, |name| format!(", superuser {name}"));
    context.ui.note(&format!(
        "Tenant {schema} is ready: {}, {}{name}.",
        if saved.provisioned {
            format!("schema {schema}")
        } else {
            "no schema of its own".to_owned()
        },
        count(saved.applied.len() + saved.left, "migration")
    ));
    Ok(Exit::Done)
}
