//! An option for each field of the user's model.

use clap::{Arg, ArgAction};

use crate::model::{Field, TenantModel};

use super::entry::GLOBAL;
use super::superuser::Credentials;

pub(super) const DOMAIN: &str = "domain";
pub(super) const NOINPUT: &str = "noinput";

/// Options of the commands that make tenants; a field of such a name gets another option.
const TAKEN: [&str; 11] = [
    DOMAIN,
    NOINPUT,
    "no-input",
    "adopt",
    "superuser",
    "from",
    "clone-from",
    "data",
    "migrate",
    "file",
    "schema",
];

/// A command with an option for each field, for domains, and to be left in peace.
///
/// `note` is what the help says behind a field.
pub(super) fn arguments<T: TenantModel>(
    mut clap: clap::Command,
    note: impl Fn(&Field) -> String,
) -> clap::Command {
    for field in fields::<T>() {
        clap = clap.arg(arg::<T>(field, &note(field)));
    }
    if T::domains().is_some() {
        clap = clap.arg(
            Arg::new(DOMAIN)
                .long(DOMAIN)
                .value_name("DOMAIN")
                .action(ArgAction::Append)
                .help_heading("Tenant")
                .help("A domain of the tenant; given repeatedly, the first is the primary one"),
        );
    }
    clap.arg(
        Arg::new(NOINPUT)
            .long(NOINPUT)
            .alias("no-input")
            .action(ArgAction::SetTrue)
            .help("Ask nothing, take the defaults"),
    )
}

/// The fields that can be given, in the order of the struct.
pub(super) fn fields<T: TenantModel>() -> impl Iterator<Item = &'static Field> {
    T::fields().iter().filter(|field| field.can_be_set())
}

/// The option of a field: its name, unless that is taken.
pub(super) fn option<T: TenantModel>(field: &Field) -> String {
    option_among(field, T::fields())
}

fn option_among(field: &Field, fields: &[Field]) -> String {
    let mut option = field.name.trim_start_matches("r#").to_owned();
    let taken = [&GLOBAL[..], &TAKEN, &Credentials::OPTIONS].concat();
    let is_taken = |option: &str| {
        let mut others = fields.iter().filter(|other| other.name != field.name);
        taken.contains(&option) || others.any(|other| plain(other) == option)
    };
    while is_taken(&option.replace('_', "-")) {
        option = format!("tenant-{option}");
    }
    option
}

/// The fields whose names are among these options, and the options that they have instead.
pub(super) fn renamed<T: TenantModel>(
    taken: &[&str],
) -> impl Iterator<Item = (&'static str, String)> {
    fields::<T>()
        .filter(move |field| taken.contains(&plain(field).as_str()))
        .map(|field| (field.name, option::<T>(field)))
}

/// A field's name as options are written.
fn plain(field: &Field) -> String {
    field.name.trim_start_matches("r#").replace('_', "-")
}

/// An identifier that no option of the command itself has.
pub(super) fn id(field: &Field) -> String {
    format!("field {}", field.name)
}

/// Whether a field has to be given, and what it is if not.
pub(super) fn note(field: &Field) -> String {
    if field.required() {
        "[required]".to_owned()
    } else if let Some(default) = field.default_text() {
        format!("[default: {default}]")
    } else {
        "[optional]".to_owned()
    }
}

fn arg<T: TenantModel>(field: &'static Field, note: &str) -> Arg {
    let help = field.help.trim().trim_end_matches('.').replace('\n', " ");
    let help = format!("{help} {note}").trim_start().to_owned();
    let arg = Arg::new(id(field))
        .long(option::<T>(field))
        .value_name(value_name(field))
        .help_heading("Tenant")
        .help(help);
    if is_bool(field) {
        arg.num_args(0..=1).default_missing_value("true")
    } else {
        // A number can be negative, and a name begin with a hyphen.
        arg.allow_hyphen_values(true)
    }
}

fn is_bool(field: &Field) -> bool {
    type_of(field) == "bool"
}

/// Whether any text is a value of the field.
pub(super) fn is_text(field: &Field) -> bool {
    type_of(field) == "String"
}

/// The name of the field's type, without what it is in and what is in it.
fn type_of(field: &Field) -> &str {
    let whole = field.type_name.trim();
    let inner = whole
        .split_once('<')
        .filter(|(outer, _)| outer.trim_end().ends_with("Option"))
        .map_or(whole, |(_, inner)| inner);
    let path = inner.split(['<', '>']).next().unwrap_or(inner);
    path.rsplit("::").next().unwrap_or(path).trim()
}

/// The field's type, without what people do not need to know.
pub(super) fn value_name(field: &Field) -> String {
    match type_of(field) {
        "String" => "TEXT".to_owned(),
        "bool" => "true|false".to_owned(),
        "NaiveDate" => "YYYY-MM-DD".to_owned(),
        "NaiveDateTime" => "YYYY-MM-DDThh:mm:ss".to_owned(),
        "DateTime" => "YYYY-MM-DDThh:mm:ssZ".to_owned(),
        "SchemaName" => "NAME".to_owned(),
        other => other.to_uppercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::FieldRole;

    #[test]
    fn every_field_has_an_option_of_its_own() {
        let field = |name| Field::new(name, name, "String", "", FieldRole::Plain, false, None);
        let fields = ["email", "tenant_email", "r#type", "name"].map(field);
        let options = fields.each_ref().map(|field| option_among(field, &fields));
        assert_eq!(
            options,
            ["tenant-tenant-email", "tenant_email", "type", "name"]
        );
        let alone = option_among(&fields[0], &fields[..1]);
        assert_eq!(alone, "tenant-email");
    }
}
