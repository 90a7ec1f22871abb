//! Templates of each tenant in front of those of all.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use minijinja::{Environment, ErrorKind, context};
use tempfile::TempDir;
use tenant_schemas::templates::{Templates, TemplatesError};

use crate::support::name;

/// Directories of templates, which are gone when it is.
struct Files(TempDir);

impl Files {
    fn new(files: &[(&str, &str)]) -> Self {
        let all = Self(TempDir::new().expect("a directory"));
        for directory in ["shared", "tenants"] {
            fs::create_dir(all.path(directory)).expect("a directory");
        }
        for (file, text) in files {
            all.write(file, text);
        }
        all
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        let directory = path.parent().expect("it is in one");
        fs::create_dir_all(directory).expect("a directory");
        fs::write(path, text).expect("written");
    }

    fn templates(&self) -> Templates {
        Templates::new(self.path("shared"), self.path("tenants")).expect("templates")
    }
}

fn render(templates: &Templates, schema: &str, template: &str) -> Result<String, minijinja::Error> {
    let environment = templates.tenant(&name(schema));
    let text = environment.get_template(template)?;
    text.render(context!(guest => "<Ada>"))
}

#[track_caller]
fn renders(templates: &Templates, schema: &str, template: &str, text: &str) {
    assert_eq!(render(templates, schema, template).expect(template), text);
}

#[track_caller]
fn fails(templates: &Templates, schema: &str, template: &str, kind: ErrorKind) {
    let error = render(templates, schema, template).expect_err(template);
    assert_eq!(error.kind(), kind, "{error:?}");
}

#[test]
fn a_tenants_template_is_in_front_of_the_shared_one_for_that_tenant_alone() {
    let files = Files::new(&[
        ("shared/page.html", "shared"),
        ("tenants/acme/page.html", "acme's"),
        ("tenants/acme/own.html", "acme's own"),
    ]);
    let templates = files.templates();
    renders(&templates, "acme", "page.html", "acme's");
    renders(&templates, "acme", "own.html", "acme's own");
    renders(&templates, "acme", "shared:page.html", "shared");
    renders(&templates, "globex", "page.html", "shared");
    fails(
        &templates,
        "globex",
        "own.html",
        ErrorKind::TemplateNotFound,
    );
    fails(
        &templates,
        "acme",
        "nothing.html",
        ErrorKind::TemplateNotFound,
    );
}

#[test]
fn what_a_template_includes_or_extends_is_looked_for_in_front_as_well() {
    let files = Files::new(&[
        (
            "shared/base.html",
            "<{% block body %}nothing{% endblock %}>{% include 'foot.html' %}",
        ),
        ("shared/foot.html", "shared foot"),
        (
            "shared/page.html",
            "{% extends 'base.html' %}{% block body %}page{% endblock %}",
        ),
        ("tenants/acme/foot.html", "acme's foot"),
        (
            "tenants/globex/base.html",
            "globex {% block body %}{% endblock %}",
        ),
        (
            "tenants/initech/page.html",
            "initech's {% include 'shared:page.html' %}",
        ),
        ("tenants/loop/page.html", "{% extends 'page.html' %}"),
    ]);
    let templates = files.templates();
    renders(&templates, "umbrella", "page.html", "<page>shared foot");
    renders(&templates, "acme", "page.html", "<page>acme's foot");
    renders(&templates, "globex", "page.html", "globex page");
    renders(
        &templates,
        "initech",
        "page.html",
        "initech's <page>shared foot",
    );
    let error = render(&templates, "loop", "page.html");
    error.expect_err("it ends with an error, not with the stack");
}

#[test]
fn escaping_goes_by_the_name_whosever_the_template_is() {
    let files = Files::new(&[
        ("shared/page.html", "{{ guest }}"),
        ("shared/page.txt", "{{ guest }}"),
        ("tenants/acme/page.html", "acme {{ guest }}"),
    ]);
    let templates = files.templates();
    renders(&templates, "acme", "page.html", "acme &lt;Ada&gt;");
    renders(&templates, "globex", "page.html", "&lt;Ada&gt;");
    renders(&templates, "globex", "page.txt", "<Ada>");
    renders(&templates, "globex", "shared:page.html", "&lt;Ada&gt;");
}

#[test]
fn c112_no_name_leads_to_the_templates_of_another_tenant() {
    let files = Files::new(&[
        ("shared/page.html", "shared"),
        ("shared/include.html", "{% include name %}"),
        ("tenants/globex/secret.html", "globex's"),
        ("outside.html", "outside"),
    ]);
    fs::create_dir(files.path("tenants/acme")).expect("a directory");
    let templates = files.templates();
    renders(&templates, "globex", "secret.html", "globex's");
    let absolute = files.path("tenants/globex/secret.html");
    for out in [
        "../globex/secret.html",
        "a/../../globex/secret.html",
        "./../globex/secret.html",
        "..\\globex\\secret.html",
        "%2e%2e/globex/secret.html",
        "..%2fglobex/secret.html",
        "../../outside.html",
        "../tenants/globex/secret.html",
        "tenants/globex/secret.html",
        "globex/secret.html",
        "shared:../tenants/globex/secret.html",
        "shared:shared:page.html",
        "shared:/etc/passwd",
        "//page.html",
        "/page.html",
        "page.html/",
        "",
        absolute.to_str().expect("UTF-8"),
    ] {
        fails(&templates, "acme", out, ErrorKind::TemplateNotFound);
        let environment = templates.tenant(&name("acme"));
        let including = environment.get_template("include.html").expect("there");
        let included = including.render(context!(name => out));
        assert!(included.is_err(), "{out}: {included:?}");
    }
}

#[cfg(unix)]
#[test]
fn c112_symbolic_links_lead_to_no_other_tenants_templates() {
    use std::os::unix::fs::symlink;

    let files = Files::new(&[
        ("shared/page.html", "shared"),
        ("tenants/globex/secret.html", "globex's"),
        ("tenants/acme/real.html", "acme's"),
    ]);
    let secret = files.path("tenants/globex/secret.html");
    symlink(&secret, files.path("tenants/acme/file.html")).expect("a link");
    symlink("../globex", files.path("tenants/acme/directory")).expect("a link");
    symlink("real.html", files.path("tenants/acme/within.html")).expect("a link");
    symlink("globex", files.path("tenants/initech")).expect("a link");
    symlink("../tenants/globex", files.path("shared/all")).expect("a link");
    // Control: whoever follows links is there.
    for link in [
        "tenants/acme/file.html",
        "tenants/acme/directory/secret.html",
    ] {
        assert_eq!(fs::read(files.path(link)).expect("read"), b"globex's");
    }
    assert!(files.path("shared/all/secret.html").exists());
    let templates = files.templates();
    renders(&templates, "acme", "within.html", "acme's");
    for link in ["file.html", "directory/secret.html", "all/secret.html"] {
        fails(&templates, "acme", link, ErrorKind::InvalidOperation);
    }
    for template in ["secret.html", "page.html"] {
        fails(&templates, "initech", template, ErrorKind::InvalidOperation);
    }
}

#[test]
fn c112_templates_of_tenants_within_the_shared_ones_are_refused() {
    let files = Files::new(&[("shared/tenants/acme/page.html", "acme's")]);
    for (shared, tenants) in [
        ("shared", "shared/tenants"),
        ("shared", "shared"),
        ("shared", "tenants/../shared/tenants"),
        ("shared/tenants/acme", "shared/tenants"),
    ] {
        let error = Templates::new(files.path(shared), files.path(tenants));
        let error = error.expect_err("refused");
        assert!(matches!(error, TemplatesError::Nested { .. }), "{error}");
    }
    let missing = files.path("missing");
    let error = Templates::new(&missing, files.path("tenants")).expect_err("missing");
    assert!(matches!(&error, TemplatesError::Directory { path, .. } if *path == missing));
}

#[test]
fn c112_tenants_whose_names_differ_in_case_have_templates_of_their_own() {
    let files = Files::new(&[
        ("shared/page.html", "shared"),
        ("tenants/acme/page.html", "acme's"),
        ("tenants/=41cme/page.html", "Acme's"),
    ]);
    let templates = files.templates();
    renders(&templates, "acme", "page.html", "acme's");
    renders(&templates, "Acme", "page.html", "Acme's");
    renders(&templates, "ACME", "page.html", "shared");
}

#[test]
fn a_template_that_is_put_in_front_changed_or_taken_away_is_noticed() {
    let files = Files::new(&[("shared/page.html", "shared")]);
    let templates = files.templates();
    renders(&templates, "acme", "page.html", "shared");
    // As long as the shared one: its length does not give it away.
    files.write("tenants/acme/page.html", "acme's");
    renders(&templates, "acme", "page.html", "acme's");
    renders(&templates, "globex", "page.html", "shared");
    files.write("tenants/acme/page.html", "acme's new one");
    renders(&templates, "acme", "page.html", "acme's new one");
    fs::remove_file(files.path("tenants/acme/page.html")).expect("removed");
    renders(&templates, "acme", "page.html", "shared");
    fs::remove_file(files.path("shared/page.html")).expect("removed");
    fails(&templates, "acme", "page.html", ErrorKind::TemplateNotFound);
}

#[test]
fn environments_are_made_once_and_kept_for_so_many_tenants() {
    let files = Files::new(&[("shared/page.html", "{{ 2|double }}")]);
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let templates = files.templates().configure(move |environment| {
        count.fetch_add(1, Ordering::Relaxed);
        environment.add_filter("double", |value: i32| value * 2);
        environment.set_auto_reload(false);
    });
    let made = || made.load(Ordering::Relaxed);
    for (schema, expected) in [("acme", 1), ("globex", 2), ("acme", 2), ("globex", 2)] {
        renders(&templates, schema, "page.html", "4");
        assert_eq!(made(), expected, "{schema}");
    }
    files.write("shared/page.html", "new");
    renders(&templates.clone(), "globex", "page.html", "4");
    templates.forget(&name("globex"));
    renders(&templates, "globex", "page.html", "new");
    assert_eq!(made(), 3);

    for (max_tenants, kept) in [(3, 3), (1, 1), (0, 1)] {
        let templates = templates.clone().max_tenants(max_tenants);
        let all: Vec<_> = (0..20)
            .map(|tenant| Arc::downgrade(&templates.tenant(&name(&format!("t{tenant}")))))
            .collect();
        let alive = all.iter().filter(|one| one.strong_count() > 0).count();
        assert_eq!(alive, kept, "of {max_tenants}");
        let one = templates.tenant(&name("acme"));
        assert!(Arc::ptr_eq(&one, &templates.tenant(&name("acme"))));
    }
}

/// Templates that are changed again and again do not fill the memory.
#[test]
fn an_environment_that_has_loaded_too_much_is_made_anew() {
    let files = Files::new(&[("shared/page.html", "text")]);
    let templates = files.templates();
    let first = templates.tenant(&name("acme"));
    for turn in 0..5_000 {
        files.write("shared/page.html", &"x".repeat(turn % 2 + 1));
        render(&templates, "acme", "page.html").expect("there");
    }
    assert!(!Arc::ptr_eq(&first, &templates.tenant(&name("acme"))));
}

#[test]
fn a_loader_serves_an_environment_of_ones_own() {
    let files = Files::new(&[
        ("shared/page.html", "shared"),
        ("tenants/acme/page.html", "acme's"),
    ]);
    let mut environment = Environment::new();
    environment.set_loader(files.templates().loader(&name("acme")));
    let template = environment.get_template("page.html").expect("there");
    assert_eq!(template.render(()).expect("rendered"), "acme's");
    assert!(environment.get_template("../globex/page.html").is_err());
    assert!(Path::new(&files.path("shared/page.html")).exists());
}
