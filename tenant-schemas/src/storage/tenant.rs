//! [`TenantStore`]: one tenant's part of a store.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::ready;
use futures_util::stream::{BoxStream, StreamExt as _, TryStreamExt as _, once};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    ObjectStoreExt as _, PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions,
    Result,
};

use crate::name::SchemaName;

use super::{StorageError, location};

/// The files of one tenant. Cheap to clone.
///
/// Ask for it when it is needed, and keep none: if the tenant is renamed and another gets its name,
/// on disk one from before still is the directory of the first.
///
/// All locations are relative to the tenant's directory, those that are given
/// and those that come back. See the [module](super) for what is refused.
#[derive(Clone)]
pub struct TenantStore {
    schema: SchemaName,
    /// Where the tenant's files are in the whole storage.
    directory: Path,
    inner: Inner,
}

#[derive(Clone)]
struct Inner {
    store: Arc<dyn ObjectStore>,
    /// What the store's locations have in front.
    prefix: Path,
}

impl TenantStore {
    pub(super) fn new(
        schema: &SchemaName,
        store: Arc<dyn ObjectStore>,
        prefix: Path,
        directory: Path,
    ) -> Self {
        Self {
            schema: schema.clone(),
            directory,
            inner: Inner { store, prefix },
        }
    }

    /// The schema of the tenant.
    #[must_use]
    pub fn schema_name(&self) -> &SchemaName {
        &self.schema
    }

    /// The location that a user's `text` names, taken literally.
    ///
    /// ```
    /// # use tenant_schemas::storage::{Storage, object_store::memory::InMemory};
    /// # let acme = Storage::over(InMemory::new())?.tenant(&"acme".parse()?)?;
    /// assert_eq!(acme.location("rooms/1 blue.png")?.as_ref(), "rooms/1 blue.png");
    /// for text in ["../globex/logo.png", "/etc/passwd", "%2e%2e/globex", "a\\b", ""] {
    ///     assert!(acme.location(text).is_err());
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StorageError::Location`] if it leads out of the tenant's directory, or
    /// would if somebody decoded it.
    pub fn location(&self, text: &str) -> Result<Path, StorageError> {
        location::parse(text)
    }

    /// Where a location of the tenant is in the whole storage.
    ///
    /// It is what a signed URL is made of, which the store itself signs. Of a prefix that a
    /// wrapper around the store adds it knows nothing: use
    /// [`Storage::over_prefix`](super::Storage::over_prefix) for one.
    ///
    /// ```
    /// # use tenant_schemas::storage::{Storage, object_store::memory::InMemory};
    /// # let acme = Storage::over(InMemory::new())?.tenant(&"acme".parse()?)?;
    /// let location = acme.full_location(&acme.location("logo.png")?)?;
    /// assert_eq!(location.as_ref(), "acme/logo.png");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StorageError::Location`] if it leads out of the tenant's directory.
    pub fn full_location(&self, location: &Path) -> Result<Path, StorageError> {
        location::check(location)?;
        Ok(join(&self.directory, location))
    }

    /// All files, by the store's own locations: other programs may have written some that are refused
    /// here, and they go with the tenant too.
    pub(super) fn all(&self) -> BoxStream<'static, Result<ObjectMeta>> {
        let inner = self.inner.clone();
        self.inner
            .store
            .list(Some(&self.inner.prefix))
            .try_filter_map(move |meta| {
                let below = inner.strip(&meta.location);
                ready(below.map(|location| (!location.is_root()).then_some(meta)))
            })
            .boxed()
    }

    /// Whether there is no file. What is listed and not found is the marker of a folder, whose key ends
    /// with a slash.
    pub(super) async fn is_empty(&self) -> Result<bool> {
        let mut all = self.all();
        while let Some(meta) = all.try_next().await? {
            let found = self.inner.store.head(&meta.location).await;
            if meta.size > 0 || !matches!(found, Err(object_store::Error::NotFound { .. })) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where another tenant has the file that this one has at the store's `location`.
    pub(super) fn location_in(&self, other: &Self, location: &Path) -> Result<Path> {
        Ok(join(&other.inner.prefix, &self.inner.strip(location)?))
    }

    /// Removes all files.
    pub(super) async fn remove_all(&self) -> Result<()> {
        let locations = self.all().map_ok(|meta| meta.location).boxed();
        let mut removed = self.inner.store.delete_stream(locations);
        while let Some(removed) = removed.next().await {
            match removed {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn join(prefix: &Path, location: &Path) -> Path {
    prefix.parts().chain(location.parts()).collect()
}

/// Leaves the marker out that some programs make for a folder: it is no file below it.
fn not_the_directory(meta: ObjectMeta) -> Option<ObjectMeta> {
    (!meta.location.is_root()).then_some(meta)
}

fn refused(error: StorageError) -> object_store::Error {
    let StorageError::Location { location, .. } = &error else {
        return generic(error);
    };
    object_store::Error::PermissionDenied {
        path: location.clone(),
        source: Box::new(error),
    }
}

fn generic(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> object_store::Error {
    object_store::Error::Generic {
        store: "TenantStore",
        source: source.into(),
    }
}

impl Inner {
    /// The store's location of an object of the tenant.
    fn object(&self, location: &Path) -> Result<Path> {
        location::check(location).map_err(refused)?;
        Ok(join(&self.prefix, location))
    }

    /// The store's location of a directory of the tenant, or of all its files.
    fn directory(&self, prefix: Option<&Path>) -> Result<Path> {
        let all = Path::ROOT;
        let prefix = prefix.unwrap_or(&all);
        location::check_prefix(prefix).map_err(refused)?;
        Ok(join(&self.prefix, prefix))
    }

    /// The tenant's location of what the store returned.
    fn strip(&self, location: &Path) -> Result<Path> {
        match location.prefix_match(&self.prefix) {
            Some(parts) => Ok(parts.collect()),
            // Better no listing than one of somebody else.
            None => Err(generic(format!(
                "the store answered with {location}, which is not below {}",
                self.prefix
            ))),
        }
    }

    fn strip_meta(&self, meta: ObjectMeta) -> Result<ObjectMeta> {
        let location = self.strip(&meta.location)?;
        Ok(ObjectMeta { location, ..meta })
    }

    fn strip_all(
        self,
        metas: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        metas
            .try_filter_map(move |meta| ready(self.strip_meta(meta).map(not_the_directory)))
            .boxed()
    }
}

#[async_trait]
#[deny(
    clippy::missing_trait_methods,
    reason = "a default would go around the prefix"
)]
impl ObjectStore for TenantStore {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        let location = self.inner.object(location)?;
        self.inner.store.put_opts(&location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let location = self.inner.object(location)?;
        self.inner.store.put_multipart_opts(&location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let location = self.inner.object(location)?;
        let mut result = self.inner.store.get_opts(&location, options).await?;
        result.meta = self.inner.strip_meta(result.meta)?;
        Ok(result)
    }

    async fn get_ranges(
        &self,
        location: &Path,
        ranges: &[Range<u64>],
    ) -> Result<Vec<bytes::Bytes>> {
        let location = self.inner.object(location)?;
        self.inner.store.get_ranges(&location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        let inner = self.inner.clone();
        let locations = locations
            .map(move |location| inner.object(&location?))
            .boxed();
        let inner = self.inner.clone();
        self.inner
            .store
            .delete_stream(locations)
            .and_then(move |location| ready(inner.strip(&location)))
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.inner.directory(prefix) {
            Ok(prefix) => self
                .inner
                .clone()
                .strip_all(self.inner.store.list(Some(&prefix))),
            Err(error) => once(ready(Err(error))).boxed(),
        }
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix = self.inner.directory(prefix);
        let offset = self.inner.directory(Some(offset));
        match prefix.and_then(|prefix| Ok((prefix, offset?))) {
            Ok((prefix, offset)) => {
                let metas = self.inner.store.list_with_offset(Some(&prefix), &offset);
                self.inner.clone().strip_all(metas)
            }
            Err(error) => once(ready(Err(error))).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let prefix = self.inner.directory(prefix)?;
        let listed = self.inner.store.list_with_delimiter(Some(&prefix)).await?;
        let prefixes = listed.common_prefixes.iter();
        let objects = listed.objects.into_iter();
        Ok(ListResult {
            common_prefixes: prefixes
                .map(|path| self.inner.strip(path))
                .collect::<Result<_>>()?,
            objects: objects
                .filter_map(|meta| {
                    self.inner
                        .strip_meta(meta)
                        .map(not_the_directory)
                        .transpose()
                })
                .collect::<Result<_>>()?,
            extensions: listed.extensions,
        })
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (from, to) = (self.inner.object(from)?, self.inner.object(to)?);
        self.inner.store.copy_opts(&from, &to, options).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        let (from, to) = (self.inner.object(from)?, self.inner.object(to)?);
        self.inner.store.rename_opts(&from, &to, options).await
    }
}

impl fmt::Display for TenantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TenantStore({} in {})", self.schema, self.inner.store)
    }
}

/// What a store in memory holds is not to be in a log.
impl fmt::Debug for TenantStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
