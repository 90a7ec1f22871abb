//! Files of each tenant: on disk, in memory, in a server that speaks S3.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path as FilePath;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::{StreamExt as _, once};
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Error, GetOptions, MultipartUpload as _, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions,
    WriteMultipart, integration,
};
use tempfile::TempDir;
use tenant_schemas::storage::{Storage, StorageError, TenantStore};
use tenant_schemas_tests::skipped;

use crate::support::name;

/// Every place that files can be in without a server.
fn places() -> Vec<(Storage, Option<TempDir>)> {
    let root = TempDir::new().expect("a directory");
    vec![
        (Storage::on_disk(root.path()).expect("a disk"), Some(root)),
        (Storage::over(InMemory::new()).expect("a store"), None),
        (
            Storage::over_prefix(InMemory::new(), "all/tenants").expect("a store"),
            None,
        ),
    ]
}

fn disk() -> (Storage, TempDir) {
    let root = TempDir::new().expect("a directory");
    (Storage::on_disk(root.path()).expect("a disk"), root)
}

fn tenant(storage: &Storage, schema: &str) -> TenantStore {
    storage.tenant(&name(schema)).expect(schema)
}

async fn put(store: &TenantStore, location: &str, text: &str) {
    let location = store.location(location).expect(location);
    let text = text.to_owned();
    store.put(&location, text.into()).await.expect("written");
}

async fn text(store: &dyn ObjectStore, location: &str) -> Result<String, Error> {
    let location = Path::parse(location).expect(location);
    let bytes = store.get(&location).await?.bytes().await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

async fn listed(store: &dyn ObjectStore, prefix: Option<&str>) -> Vec<String> {
    let prefix = prefix.map(|prefix| Path::parse(prefix).expect(prefix));
    let metas = store.list(prefix.as_ref()).map_ok(|meta| meta.location);
    let mut all: Vec<Path> = metas.try_collect().await.expect("listed");
    all.sort();
    all.iter().map(Path::to_string).collect()
}

/// The part of `acme`, without a file.
async fn empty(storage: &Storage) -> TenantStore {
    let removed = storage.remove_tenant(&name("acme")).await;
    removed.expect("removed");
    tenant(storage, "acme")
}

/// Everything that `object_store` asks of its own stores.
async fn is_an_object_store(storage: &Storage) {
    put(&tenant(storage, "acm"), "before", "secret").await;
    put(&tenant(storage, "acme2"), "after", "secret").await;
    integration::put_get_delete_list(&empty(storage).await).await;
    integration::get_opts(&empty(storage).await).await;
    integration::stream_get(&empty(storage).await).await;
    integration::list_uses_directories_correctly(&empty(storage).await).await;
    integration::list_with_delimiter(&empty(storage).await).await;
    integration::rename_and_copy(&empty(storage).await).await;
    integration::list_with_offset_exclusivity(&empty(storage).await).await;
    integration::get_nonexistent_object(&empty(storage).await, None)
        .await
        .expect_err("it is not there");
    for neighbour in ["acm", "acme2"] {
        let kept = listed(&tenant(storage, neighbour), None).await;
        assert_eq!(kept.len(), 1, "{neighbour} was left alone");
    }
}

#[tokio::test]
async fn a_tenants_part_does_what_object_store_asks_of_a_store() {
    for (storage, root) in places() {
        is_an_object_store(&storage).await;
        integration::copy_if_not_exists(&empty(&storage).await).await;
        integration::copy_rename_nonexistent_object(&empty(&storage).await).await;
        let conditional = root.is_none();
        integration::put_opts(&empty(&storage).await, conditional).await;
        integration::multipart_out_of_order(&empty(&storage).await).await;
        integration::multipart_race_condition(&empty(&storage).await, true).await;
    }
}

/// The same location in two tenants is two files, and no operation reaches another's.
async fn keeps_tenants_apart(storage: &Storage) {
    let [acme, globex, longer] = ["acme", "globex", "acme2"].map(|schema| tenant(storage, schema));
    put(&acme, "logo.png", "acme's").await;
    put(&acme, "rooms/1.png", "acme's room").await;
    put(&globex, "logo.png", "globex's").await;
    put(&longer, "secret.png", "acme2's").await;
    // Control: it is there to be leaked.
    assert_eq!(text(&globex, "logo.png").await.expect("there"), "globex's");
    assert_eq!(listed(&longer, None).await, ["secret.png"]);

    assert_eq!(text(&acme, "logo.png").await.expect("there"), "acme's");
    assert_eq!(listed(&acme, None).await, ["logo.png", "rooms/1.png"]);
    assert_eq!(listed(&acme, Some("rooms")).await, ["rooms/1.png"]);
    for prefix in ["2", "globex", "acme2", "acme"] {
        assert_eq!(listed(&acme, Some(prefix)).await, [""; 0], "{prefix}");
    }
    let top = acme.list_with_delimiter(None).await.expect("listed");
    assert_eq!(top.common_prefixes, [Path::from("rooms")]);
    assert_eq!(top.objects.len(), 1);
    assert_eq!(top.objects[0].location, Path::from("logo.png"));
    let later = acme.list_with_offset(None, &Path::from("logo.png"));
    let later: Vec<_> = later.try_collect().await.expect("listed");
    assert_eq!(later.len(), 1);
    assert_eq!(later[0].location, Path::from("rooms/1.png"));
    let head = acme.head(&Path::from("rooms/1.png")).await.expect("there");
    assert_eq!(head.location, Path::from("rooms/1.png"));
    let got = acme.get(&Path::from("logo.png")).await.expect("there");
    assert_eq!(got.meta.location, Path::from("logo.png"));
    let gone = acme.delete_stream(once(async { Ok(Path::from("rooms/1.png")) }).boxed());
    let gone: Vec<Path> = gone.try_collect().await.expect("deleted");
    assert_eq!(gone, [Path::from("rooms/1.png")]);
    assert_eq!(text(&globex, "logo.png").await.expect("there"), "globex's");
}

#[tokio::test]
async fn c112_the_same_location_in_two_tenants_is_two_files() {
    for (storage, _root) in places() {
        keeps_tenants_apart(&storage).await;
    }
}

/// Locations that lead from one tenant to another, as a program would make them by mistake.
fn ways_out() -> Vec<Path> {
    let mut ways: Vec<Path> = [
        "../globex/logo.png",
        "rooms/../../globex/logo.png",
        "..",
        "..%2fglobex%2flogo.png",
        "%2e%2e/globex/logo.png",
        "..\\globex\\logo.png",
    ]
    .map(Path::from)
    .to_vec();
    for raw in [
        "%2e%2e/globex/logo.png",
        "%252e%252e/globex/logo.png",
        "..%2fglobex",
    ] {
        ways.push(Path::parse(raw).expect(raw));
    }
    ways.push(Path::ROOT);
    ways
}

#[tokio::test]
async fn c112_every_operation_refuses_a_location_that_leads_out() {
    for (storage, _root) in places() {
        let [acme, globex] = ["acme", "globex"].map(|schema| tenant(&storage, schema));
        put(&globex, "logo.png", "globex's").await;
        put(&acme, "own", "acme's").await;
        let own = Path::from("own");
        for out in ways_out() {
            let mut refused = vec![
                acme.get(&out).await.err(),
                acme.head(&out).await.err(),
                acme.get_range(&out, 0..1).await.err(),
                acme.get_ranges(&out, &[0..1, 4..5]).await.err(),
                acme.put(&out, "x".into()).await.err(),
                acme.put_multipart(&out).await.err(),
                acme.delete(&out).await.err(),
                acme.copy(&out, &own).await.err(),
                acme.copy(&own, &out).await.err(),
                acme.copy_if_not_exists(&own, &out).await.err(),
                acme.rename(&out, &own).await.err(),
                acme.rename(&own, &out).await.err(),
                acme.rename_if_not_exists(&own, &out).await.err(),
            ];
            if !out.is_root() {
                refused.push(acme.list(Some(&out)).try_next().await.err());
                refused.push(acme.list_with_delimiter(Some(&out)).await.err());
                let offset = acme.list_with_offset(None, &out).try_next().await;
                refused.push(offset.err());
            }
            for (at, error) in refused.iter().enumerate() {
                assert!(
                    matches!(error, Some(Error::PermissionDenied { .. })),
                    "{out:?}, operation {at}: {error:?}"
                );
            }
        }
        assert_eq!(text(&globex, "logo.png").await.expect("there"), "globex's");
        assert_eq!(listed(&globex, None).await, ["logo.png"]);
        assert_eq!(listed(&acme, None).await, ["own"]);
    }
}

/// What a link to `globex` or to outside of the storage lets `acme` do: nothing.
#[cfg(unix)]
#[tokio::test]
async fn c112_symbolic_links_do_not_lead_out_of_a_tenants_directory() {
    use std::os::unix::fs::symlink;

    let (storage, root) = disk();
    let outside = TempDir::new().expect("a directory");
    fs::write(outside.path().join("secret"), "outside").expect("written");
    let [acme, globex] = ["acme", "globex"].map(|schema| tenant(&storage, schema));
    put(&globex, "secret", "globex's").await;
    put(&acme, "own", "acme's").await;
    let below = |path: &str| root.path().join("acme").join(path);
    symlink("../globex", below("relative")).expect("a link");
    symlink(root.path().join("globex"), below("absolute")).expect("a link");
    symlink("../globex/secret", below("file")).expect("a link");
    symlink(outside.path(), below("outside")).expect("a link");
    symlink("relative", below("twice")).expect("a link");
    symlink("..", below("up")).expect("a link");
    // Control: whoever follows links is there.
    assert_eq!(fs::read(below("twice/secret")).expect("read"), b"globex's");
    assert_eq!(fs::read(below("outside/secret")).expect("read"), b"outside");

    let own = Path::from("own");
    for out in [
        "relative/secret",
        "absolute/secret",
        "file",
        "outside/secret",
        "twice/secret",
        "up/globex/secret",
        "up/acme/up/globex/secret",
    ] {
        let error = text(&acme, out).await.expect_err(out);
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
        let out = Path::from(out);
        for (at, done) in [
            acme.head(&out).await.is_ok(),
            acme.copy(&out, &own).await.is_ok(),
            acme.rename(&out, &own).await.is_ok(),
            acme.get_ranges(&out, &[0..1, 2..3]).await.is_ok(),
            out != Path::from("file") && acme.delete(&out).await.is_ok(),
            out != Path::from("file") && acme.put(&out, "x".into()).await.is_ok(),
            out != Path::from("file") && acme.copy(&own, &out).await.is_ok(),
            out != Path::from("file") && acme.rename(&own, &out).await.is_ok(),
        ]
        .iter()
        .enumerate()
        {
            assert!(!done, "{out}, operation {at}");
        }
        let upload = acme.put_multipart(&Path::from("up/globex/new")).await;
        let mut upload = upload.expect("a file apart");
        upload.put_part("x".into()).await.expect("written apart");
        assert!(upload.complete().await.is_err());
    }
    assert_eq!(listed(&acme, None).await, ["own"]);
    for prefix in ["relative", "absolute", "outside", "up", "up/globex"] {
        let prefix = Path::from(prefix);
        let listing: Result<Vec<_>, _> = acme.list(Some(&prefix)).try_collect().await;
        assert!(listing.is_err(), "{prefix}");
        assert!(acme.list_with_delimiter(Some(&prefix)).await.is_err());
    }
    let top = acme.list_with_delimiter(None).await.expect("listed");
    assert_eq!(top.common_prefixes, []);

    // A link that is itself replaced or deleted is gone; what it led to is not.
    put(&acme, "file", "acme's").await;
    assert_eq!(text(&acme, "file").await.expect("there"), "acme's");
    acme.delete(&Path::from("twice")).await.expect("a link");
    assert_eq!(text(&globex, "secret").await.expect("there"), "globex's");
    assert_eq!(listed(&globex, None).await, ["secret"]);
    let kept = fs::read(outside.path().join("secret")).expect("read");
    assert_eq!(kept, b"outside");
}

#[cfg(unix)]
#[tokio::test]
async fn c112_a_tenants_directory_is_no_link_to_anothers() {
    let (storage, root) = disk();
    put(&tenant(&storage, "globex"), "secret", "globex's").await;
    std::os::unix::fs::symlink("globex", root.path().join("acme")).expect("a link");
    assert!(root.path().join("acme/secret").exists(), "control");
    let error = storage.tenant(&name("acme")).expect_err("a link");
    assert!(matches!(error, StorageError::Directory { .. }), "{error}");
    let error = storage.remove_tenant(&name("acme")).await;
    assert!(matches!(error, Err(StorageError::Directory { .. })));
    let error = storage.rename_tenant(&name("acme"), &name("new")).await;
    assert!(matches!(error, Err(StorageError::Directory { .. })));
    let kept = text(&tenant(&storage, "globex"), "secret").await;
    assert_eq!(kept.expect("there"), "globex's");
}

/// Another thread turns a directory into a link and back, as fast as it can.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c112_a_link_put_in_the_way_at_the_last_moment_does_not_help() {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    let (storage, root) = disk();
    let [acme, globex] = ["acme", "globex"].map(|schema| tenant(&storage, schema));
    put(&globex, "room", "globex's").await;
    put(&acme, "a/room", "acme's").await;
    let stop = Arc::new(AtomicBool::new(false));
    let (seen, directory) = (Arc::clone(&stop), root.path().join("acme"));
    let attacker = std::thread::spawn(move || {
        let (real, link, place) = ("real", "link", "a");
        let [real, link, place] = [real, link, place].map(|name| directory.join(name));
        symlink("../globex", &link).expect("a link");
        let mut turns = 0_u32;
        while !seen.load(Ordering::Relaxed) {
            fs::rename(&place, &real).expect("away");
            fs::rename(&link, &place).expect("the link in its place");
            fs::rename(&place, &link).expect("and back");
            fs::rename(&real, &place).expect("and back");
            turns += 1;
        }
        turns
    });
    let (mut own, mut refused) = (0, 0);
    for _ in 0..5_000 {
        match text(&acme, "a/room").await {
            Ok(text) => {
                assert_eq!(text, "acme's");
                own += 1;
            }
            Err(_) => refused += 1,
        }
    }
    stop.store(true, Ordering::Relaxed);
    let turns = attacker.join().expect("the other thread");
    println!("{own} reads of its own, {refused} refused, {turns} turns");
    assert!(own > 0 && turns > 0);
}

#[tokio::test]
async fn c112_names_that_some_file_systems_take_for_one_have_directories_of_their_own() {
    let (storage, root) = disk();
    let schemas = ["acme", "Acme", "ACME", "größe", "grösse"];
    for schema in schemas {
        put(&tenant(&storage, schema), "name", schema).await;
    }
    for schema in schemas {
        let kept = text(&tenant(&storage, schema), "name").await;
        assert_eq!(kept.expect("there"), schema);
    }
    let mut directories: Vec<String> = fs::read_dir(root.path())
        .expect("read")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .to_lowercase()
        })
        .collect();
    directories.sort();
    directories.dedup();
    assert_eq!(directories.len(), schemas.len(), "{directories:?}");
}

#[tokio::test]
async fn c112_a_store_that_follows_links_is_refused() {
    let root = TempDir::new().expect("a directory");
    let local = LocalFileSystem::new_with_prefix(root.path()).expect("a store");
    let wrapped = object_store::limit::LimitStore::new(local.clone(), 1);
    let prefixed = object_store::prefix::PrefixStore::new(local.clone(), "files");
    let shared: Arc<dyn ObjectStore> = Arc::new(local.clone());
    for refused in [
        Storage::over(local),
        Storage::over(wrapped),
        Storage::over(prefixed),
        Storage::over(shared),
    ] {
        let error = refused.expect_err("refused");
        assert!(
            matches!(error, StorageError::FollowsLinks { .. }),
            "{error}"
        );
        assert!(
            error.to_string().contains("use `Storage::on_disk`"),
            "{error}"
        );
    }
}

/// A store in memory with something wrong with it.
#[derive(Debug, Default)]
struct Faulty {
    store: InMemory,
    /// It has its own idea of what is below a prefix.
    lists_all: bool,
    /// The file that it does not remove.
    keeps: Option<&'static str>,
    /// It has markers of folders, whose keys end with a slash: listed, and not found by what is listed.
    markers: &'static [&'static str],
}

impl std::fmt::Display for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Faulty")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: object_store::PutPayload,
        opts: PutOptions,
    ) -> Result<object_store::PutResult, Error> {
        self.store.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: object_store::PutMultipartOptions,
    ) -> Result<Box<dyn object_store::MultipartUpload>, Error> {
        self.store.put_multipart_opts(location, opts).await
    }

    async fn get_opts(
        &self,
        location: &Path,
        options: GetOptions,
    ) -> Result<object_store::GetResult, Error> {
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: futures_util::stream::BoxStream<'static, Result<Path, Error>>,
    ) -> futures_util::stream::BoxStream<'static, Result<Path, Error>> {
        let keeps = self.keeps;
        let locations = locations.map(move |location| match location {
            Ok(location) if location.filename() == keeps => Err(Error::Generic {
                store: "Faulty",
                source: "the connection is gone".into(),
            }),
            location => location,
        });
        self.store.delete_stream(locations.boxed())
    }

    fn list(
        &self,
        prefix: Option<&Path>,
    ) -> futures_util::stream::BoxStream<'static, Result<object_store::ObjectMeta, Error>> {
        let markers = self.markers.iter().map(|key| {
            Ok(object_store::ObjectMeta {
                location: Path::parse(key).expect("a location"),
                last_modified: std::time::SystemTime::UNIX_EPOCH.into(),
                size: 0,
                e_tag: None,
                version: None,
            })
        });
        let files = self.store.list(prefix.filter(|_| !self.lists_all));
        let markers: Vec<_> = match prefix {
            Some(prefix) => markers
                .filter(|meta| {
                    meta.as_ref()
                        .is_ok_and(|meta| meta.location.prefix_matches(prefix))
                })
                .collect(),
            None => markers.collect(),
        };
        futures_util::stream::iter(markers).chain(files).boxed()
    }

    async fn list_with_delimiter(
        &self,
        prefix: Option<&Path>,
    ) -> Result<object_store::ListResult, Error> {
        let prefix = prefix.filter(|_| !self.lists_all);
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(
        &self,
        from: &Path,
        to: &Path,
        options: object_store::CopyOptions,
    ) -> Result<(), Error> {
        self.store.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn c112_a_store_that_lists_more_than_it_was_asked_for_is_an_error() {
    let storage = Storage::over(Faulty {
        lists_all: true,
        ..Faulty::default()
    });
    let storage = storage.expect("a store");
    put(&tenant(&storage, "acme2"), "secret", "acme2's").await;
    let acme = tenant(&storage, "acme");
    let listing: Result<Vec<_>, _> = acme.list(None).try_collect().await;
    assert!(listing.is_err(), "{listing:?}");
    assert!(acme.list_with_delimiter(None).await.is_err());
}

/// What other programs write into a bucket goes with the tenant, or its heir would have it.
#[tokio::test]
async fn c112_files_that_a_tenant_could_not_name_go_with_it_too() {
    let store = Arc::new(Faulty {
        markers: &["all/acme/", "all/acme/rooms/"],
        ..Faulty::default()
    });
    let storage = Storage::over_prefix(Arc::clone(&store) as Arc<dyn ObjectStore>, "all");
    let storage = storage.expect("a store");
    let foreign = ["all/acme/C%F6ln.png", "all/acme/%2e%2e/globex/logo.png"];
    let write = async || {
        for key in foreign {
            let location = Path::parse(key).expect(key);
            store.put(&location, "x".into()).await.expect("written");
        }
        put(&tenant(&storage, "acme"), "logo.png", "acme's").await;
    };
    let there = async || -> Vec<String> {
        let all = listed(&store.store, None).await;
        all.into_iter()
            .filter(|key| !key.contains("globex/own"))
            .collect()
    };
    put(&tenant(&storage, "globex"), "own", "globex's").await;
    write().await;
    assert_eq!(there().await.len(), 3, "there is something to be left");
    assert_eq!(
        listed(&tenant(&storage, "acme"), None).await,
        ["%2e%2e/globex/logo.png", "C%F6ln.png", "logo.png", "rooms"],
        "the tenant's own folder is no file in it"
    );
    storage.remove_tenant(&name("acme")).await.expect("removed");
    assert_eq!(there().await, [""; 0]);

    write().await;
    let renamed = storage.rename_tenant(&name("acme"), &name("initech")).await;
    renamed.expect("renamed");
    assert_eq!(
        there().await,
        [
            "all/initech/%2e%2e/globex/logo.png",
            "all/initech/C%F6ln.png",
            "all/initech/logo.png"
        ]
    );
    // The markers that stay at the old name are in the way of nobody.
    let heir = storage.rename_tenant(&name("globex"), &name("acme")).await;
    heir.expect("renamed");
    let kept = text(&tenant(&storage, "acme"), "own").await;
    assert_eq!(kept.expect("there"), "globex's");
}

#[tokio::test]
async fn files_go_where_the_tenant_goes() {
    for (storage, _root) in places() {
        let [acme, globex] = ["acme", "globex"].map(|schema| tenant(&storage, schema));
        put(&acme, "a/logo.png", "acme's").await;
        put(&globex, "logo.png", "globex's").await;
        let occupied = storage.rename_tenant(&name("acme"), &name("globex")).await;
        let error = occupied.expect_err("occupied");
        assert!(matches!(error, StorageError::Occupied { .. }), "{error}");
        assert_eq!(text(&globex, "logo.png").await.expect("there"), "globex's");

        let renamed = storage.rename_tenant(&name("acme"), &name("initech")).await;
        renamed.expect("renamed");
        let initech = tenant(&storage, "initech");
        assert_eq!(listed(&initech, None).await, ["a/logo.png"]);
        assert_eq!(listed(&tenant(&storage, "acme"), None).await, [""; 0]);
        let nothing = storage.rename_tenant(&name("nobody"), &name("new")).await;
        nothing.expect("nothing to do");
        // What someone else left there is not to be the tenant's.
        let occupied = storage
            .rename_tenant(&name("nobody"), &name("globex"))
            .await;
        let error = occupied.expect_err("occupied");
        assert!(matches!(error, StorageError::Occupied { .. }), "{error}");

        for _ in 0..2 {
            let removed = storage.remove_tenant(&name("initech")).await;
            removed.expect("removed, or nothing to do");
        }
        assert_eq!(listed(&tenant(&storage, "initech"), None).await, [""; 0]);
        assert_eq!(text(&globex, "logo.png").await.expect("there"), "globex's");
    }
}

#[tokio::test]
async fn no_file_is_lost_when_the_old_ones_of_a_renamed_tenant_can_not_be_removed() {
    let storage = Storage::over(Faulty {
        keeps: Some("b"),
        ..Faulty::default()
    });
    let storage = storage.expect("a store");
    for file in ["a", "b", "c"] {
        put(&tenant(&storage, "acme"), file, "acme's").await;
    }
    let renamed = storage.rename_tenant(&name("acme"), &name("initech")).await;
    let error = renamed.expect_err("one stays");
    assert!(matches!(error, StorageError::NotRemoved { .. }), "{error}");
    assert_eq!(
        error.to_string(),
        "the files of schema acme are copied, but not all of them could be removed: \
         call `remove_tenant` for acme, not `rename_tenant` again"
    );
    let left = listed(&tenant(&storage, "acme"), None).await;
    assert!(left.len() < 3, "the new name has the only copies: {left:?}");
    assert_eq!(
        listed(&tenant(&storage, "initech"), None).await,
        ["a", "b", "c"]
    );
    let again = storage.rename_tenant(&name("acme"), &name("initech")).await;
    let error = again.expect_err("occupied").to_string();
    assert!(error.ends_with("may be the only copies"), "{error}");
}

#[tokio::test]
async fn on_disk_a_file_is_replaced_as_a_whole_and_nothing_is_left_behind() {
    let (storage, root) = disk();
    let acme = tenant(&storage, "acme");
    put(&acme, "a", "first").await;
    let old = acme.get(&Path::from("a")).await.expect("there");
    let create = PutOptions::from(PutMode::Create);
    let taken = acme.put_opts(&Path::from("a"), "x".into(), create).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })));
    let upload = acme.put_multipart(&Path::from("a")).await.expect("begun");
    let mut upload = WriteMultipart::new(upload);
    upload.write(b"sec");
    upload.write(b"ond");
    assert_eq!(text(&acme, "a").await.expect("there"), "first");
    assert_eq!(
        listed(&acme, None).await,
        ["a"],
        "not the one that is written"
    );
    upload.finish().await.expect("done");
    assert_eq!(text(&acme, "a").await.expect("there"), "second");
    assert_eq!(old.bytes().await.expect("read"), "first");
    let mut aborted = acme.put_multipart(&Path::from("b")).await.expect("begun");
    aborted.put_part("x".into()).await.expect("written");
    aborted.abort().await.expect("aborted");
    assert!(aborted.complete().await.is_err());
    drop(acme.put_multipart(&Path::from("c")).await.expect("begun"));
    assert_eq!(names_in(&root.path().join("acme")), ["a"]);
    for reserved in [".upload-1-1", ".UPLOAD-x/y"] {
        let reserved = Path::from(reserved);
        assert!(acme.put(&reserved, "x".into()).await.is_err());
        assert!(acme.get(&reserved).await.is_err());
    }
}

fn names_in(directory: &FilePath) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("read");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
    let mut names: Vec<String> = entries
        .map(|entry| name(entry).to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_directory_that_is_not_there_is_an_error_that_names_it() {
    let error = Storage::on_disk("/nowhere/at/all").expect_err("no directory");
    assert!(error.to_string().contains("/nowhere/at/all"), "{error}");
}

#[test]
fn what_a_store_holds_is_in_no_log() {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let storage = Storage::over(InMemory::new()).expect("a store");
        let acme = tenant(&storage, "acme");
        put(&acme, "a", "secret").await;
        let logged = format!("{storage:?} {acme:?} {acme}");
        assert_eq!(
            logged,
            "Storage(InMemory) TenantStore(acme in InMemory) TenantStore(acme in InMemory)"
        );
    });
}

/// A server that speaks S3, written by others: `pip install 'moto[server]'`.
struct S3(Child, String);

impl S3 {
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0")
            .ok()?
            .local_addr()
            .ok()?
            .port();
        let server = Command::new("moto_server")
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let mut server = Self(server.ok()?, format!("127.0.0.1:{port}"));
        for _ in 0..300 {
            if std::net::TcpStream::connect(&server.1).is_ok() {
                return Some(server);
            }
            // A command of that name may be there and not what it leads to.
            if server.0.try_wait().is_ok_and(|ended| ended.is_some()) {
                return None;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("moto_server does not answer");
    }

    /// A bucket, made by a request that moto asks no signature for.
    fn bucket(&self, bucket: &str) -> Storage {
        use std::io::Read as _;

        let mut connection = std::net::TcpStream::connect(&self.1).expect("connected");
        let request = format!(
            "PUT /{bucket} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.1
        );
        connection.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        connection.read_to_string(&mut answer).expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // The client wants to know how it would encrypt, even where it does not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let store = AmazonS3Builder::new()
            .with_endpoint(format!("http://{}", self.1))
            .with_allow_http(true)
            .with_bucket_name(bucket)
            .with_region("us-east-1")
            .with_access_key_id("key")
            .with_secret_access_key("secret")
            .build();
        Storage::over(store.expect("a client")).expect("a store")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn c112_s3_keeps_tenants_apart_as_disk_and_memory_do() {
    let Some(server) = S3::start() else {
        skipped("a store that speaks S3", "pip install 'moto[server]'");
        return;
    };
    is_an_object_store(&server.bucket("behaviour")).await;
    let storage = server.bucket("isolation");
    keeps_tenants_apart(&storage).await;
    let [acme, upper] = ["acme", "Acme"].map(|schema| tenant(&storage, schema));
    put(&upper, "a b+c=d&é.txt", "Acme's").await;
    assert_eq!(listed(&upper, None).await, ["a b+c=d&é.txt"]);
    for out in ways_out() {
        let error = acme.get(&out).await.expect_err("refused");
        assert!(matches!(error, Error::PermissionDenied { .. }), "{error:?}");
    }
    let renamed = storage.rename_tenant(&name("Acme"), &name("initech")).await;
    renamed.expect("renamed");
    assert_eq!(listed(&upper, None).await, [""; 0]);
    let moved = text(&tenant(&storage, "initech"), "a b+c=d&é.txt").await;
    assert_eq!(moved.expect("there"), "Acme's");
}
