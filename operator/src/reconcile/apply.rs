//! Step four: make the cluster agree. Server-side apply by one field manager, forced, and only of what differs: a
//! child at rest costs nothing, an edited or deleted one is put back. Nothing of anyone else is taken over.

mod ownership;

use super::build::{self, Resources};
use super::error::StepError;
use super::validate::Identity;
use crate::controller::{Scope, Stores};
use crate::memory::{APPLIED_HASH, MANAGER, Observed, Verdict};
use crate::random;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, ObjectReference, Secret, Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::ObjectMeta;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Api, Resource, ResourceExt as _};
use ownership::{FieldPath, is_ours};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant};

const PASSWORD_LENGTH: usize = 32;
/// Tries to take over additions while someone else writes to the object.
const TAKE_TRIES: u32 = 5;
/// While pods are not ready, the admin Secret is asked for this often: without it they cannot start, and the operator
/// cannot see whether it is there.
const SECRET_PERIOD: Duration = Duration::from_secs(30);
/// Time for the garbage collector to take the Secret of a deleted server of the same name.
const SECRET_DOUBT: Duration = Duration::from_secs(180);

/// A kind of child: applied here, and watched by the controller.
pub trait Child:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Serialize
    + DeserializeOwned
    + Clone
    + Debug
    + Send
    + Sync
    + 'static
{
    /// Name of the kind, for messages and metrics.
    const KIND: &'static str;

    /// Parts in which nobody may add anything.
    const OWNED: &'static [FieldPath];

    /// What the watch has last shown of the child with this name.
    fn stored(stores: &Stores, namespace: &str, name: &str) -> Option<ObjectMeta>;
}

/// Metadata of an object in a store.
fn stored<K>(store: &Store<K>, namespace: &str, name: &str) -> Option<ObjectMeta>
where
    K: Resource<DynamicType = ()> + Clone + 'static,
{
    store.get(&ObjectRef::new(name).within(namespace)).map(|object| object.meta().clone())
}

macro_rules! child {
    ($kind:ident, $store:ident, $owned:expr) => {
        impl Child for $kind {
            const KIND: &'static str = stringify!($kind);
            const OWNED: &'static [FieldPath] = $owned;

            fn stored(stores: &Stores, namespace: &str, name: &str) -> Option<ObjectMeta> {
                stored(&stores.$store, namespace, name)
            }
        }
    };
}
child!(ConfigMap, config_maps, &[&["f:data"], &["f:binaryData"]]);
child!(ServiceAccount, service_accounts, &[]);
child!(Service, services, &[&["f:spec", "f:ports"], &["f:spec", "f:selector"]]);
child!(StatefulSet, stateful_sets, &[&["f:spec", "f:template", "f:spec"]]);
child!(PodDisruptionBudget, disruption_budgets, &[&["f:spec"]]);

/// A server whose children are as built. Only this step makes one, so a status of `Ready` cannot come from anything
/// that was not applied.
#[derive(Debug)]
pub struct Applied {
    /// The StatefulSet as the API server answered; none when it was not written, and the store's is as good.
    pub stateful_set: Option<Arc<StatefulSet>>,
    /// When the watch must have shown everything; look again then.
    pub look_again_in: Option<Duration>,
    /// Which admin Secret the pods were restarted for; see [`SecretHint::remade_uid`].
    pub secret_remade_uid: Option<String>,
    healed: Vec<ObjectReference>,
}

impl Applied {
    /// Children that someone else had edited or deleted and that were put back.
    #[must_use]
    pub fn healed(&self) -> &[ObjectReference] {
        &self.healed
    }
}

/// What the last status says, for the one child that cannot be looked at.
#[derive(Clone, Debug)]
pub struct SecretHint {
    /// The uid of the Secret that was made in place of a deleted one. The pods carry it, so that they are restarted
    /// and take its password; the password of the deleted one is known to nobody.
    pub remade_uid: Option<String>,
    /// The Secret has been created for this server before.
    pub created: bool,
    /// All pods run, so they have the Secret.
    pub pods_run: bool,
}

/// Applies every child that differs; all of them when `resync` is set.
///
/// # Errors
/// The first child that cannot be applied; those before it are applied. One that someone keeps changing back holds no
/// other up.
pub async fn apply(
    scope: &Scope,
    identity: &Identity,
    resources: Resources,
    hint: SecretHint,
    resync: bool,
) -> Result<Applied, StepError> {
    let Resources {
        service_account,
        config_map,
        admin_secret,
        headless_service,
        service,
        mut stateful_set,
        disruption_budget,
    } = resources;
    let mut applier = Applier {
        scope,
        identity,
        resync,
        look_again_in: None,
        healed: Vec::new(),
        contended: None,
    };
    applier.child(service_account).await?;
    applier.child(config_map).await?;
    let mut secret_remade_uid = None;
    if let Some(secret) = admin_secret {
        secret_remade_uid = applier.secret(secret, hint).await?;
    }
    applier.child(headless_service).await?;
    applier.child(service).await?;
    build::restart_for_secret(&mut stateful_set, secret_remade_uid.as_deref());
    let stateful_set = applier.child(stateful_set).await?;
    match disruption_budget {
        Some(budget) => drop(applier.child(budget).await?),
        None => applier.absent::<PodDisruptionBudget>(&identity.name).await?,
    }
    let Applier { look_again_in, healed, contended, .. } = applier;
    if let Some(contended) = contended {
        return Err(contended);
    }
    let stateful_set = stateful_set.map(Arc::new);
    Ok(Applied { stateful_set, look_again_in, secret_remade_uid, healed })
}

/// Whether any child would be written, by what the watch has shown and without a call.
///
/// # Errors
/// When a child cannot be written as JSON.
pub fn differs(
    scope: &Scope,
    identity: &Identity,
    resources: Resources,
    hint: &SecretHint,
) -> Result<bool, StepError> {
    let Resources {
        service_account,
        config_map,
        // it is never changed
        admin_secret: _,
        headless_service,
        service,
        mut stateful_set,
        disruption_budget,
    } = resources;
    build::restart_for_secret(&mut stateful_set, hint.remade_uid.as_deref());
    let budget = disruption_budget.as_ref();
    Ok(is_other(scope, identity, &service_account)?
        || is_other(scope, identity, &config_map)?
        || is_other(scope, identity, &headless_service)?
        || is_other(scope, identity, &service)?
        || is_other(scope, identity, &stateful_set)?
        || budget.map_or(Ok(false), |budget| is_other(scope, identity, budget))?)
}

fn is_other<K: Child>(scope: &Scope, identity: &Identity, desired: &K) -> Result<bool, StepError> {
    let seen = K::stored(&scope.stores, &identity.namespace, &desired.name_any());
    let applied = seen.and_then(|seen| seen.annotations?.remove(APPLIED_HASH));
    Ok(applied != Some(hash(desired)?))
}

struct Applier<'a> {
    scope: &'a Scope,
    identity: &'a Identity,
    resync: bool,
    look_again_in: Option<Duration>,
    healed: Vec<ObjectReference>,
    contended: Option<StepError>,
}

impl Applier<'_> {
    fn uid(&self) -> &str {
        &self.identity.owner.uid
    }

    fn api<K: Child>(&self) -> Api<K> {
        Api::namespaced(self.scope.client.clone(), &self.identity.namespace)
    }

    fn look_again_in(&mut self, pause: Duration) {
        self.look_again_in = Some(self.look_again_in.map_or(pause, |other| other.min(pause)));
    }

    /// Applies a child if it differs. Returns the API server's answer if there was a write.
    async fn child<K: Child>(&mut self, mut desired: K) -> Result<Option<K>, StepError> {
        let name = desired.name_any();
        let hash = hash(&desired)?;
        desired.annotations_mut().insert(APPLIED_HASH.to_owned(), hash.clone());
        let memory = &self.scope.memory;
        let child = (K::KIND, name.as_str());
        let seen = K::stored(&self.scope.stores, &self.identity.namespace, &name);
        if let Some(seen) = &seen {
            self.refuse_foreign::<K>(seen, memory.has_applied(self.uid(), child))?;
        }
        let seen = seen.as_ref().map(Observed::of);
        let verdict = memory.judge(self.uid(), child, &hash, seen.as_ref(), Instant::now());
        match verdict {
            Verdict::Contended(pause) => {
                let contended = StepError::Contended { kind: K::KIND, name, pause };
                self.contended.get_or_insert(contended);
                return Ok(None);
            }
            Verdict::Current if !self.resync => return Ok(None),
            Verdict::AwaitEcho(pause) => {
                self.look_again_in(pause);
                return Ok(None);
            }
            // not in the store can also mean: there, but without our label
            _ if seen.is_none() => {
                if let Some(found) = self.look_up::<K>(&name).await? {
                    self.refuse_foreign::<K>(&found, false)?;
                }
            }
            Verdict::Missing | Verdict::Current | Verdict::Changed | Verdict::Drifted => {}
        }
        if seen.as_ref().is_some_and(Observed::is_foreign) {
            self.take_additions::<K>(&name).await?;
        }
        self.write(desired, &name, &hash, seen.as_ref(), verdict).await.map(Some)
    }

    async fn write<K: Child>(
        &mut self,
        desired: K,
        name: &str,
        hash: &str,
        seen: Option<&Observed>,
        verdict: Verdict,
    ) -> Result<K, StepError> {
        let params = PatchParams::apply(MANAGER).force();
        let answer = self.api::<K>().patch(name, &params, &Patch::Apply(&desired)).await;
        let metrics = &self.scope.shared.metrics;
        let answer = answer.map_err(|source| {
            metrics.applied(K::KIND, "error");
            StepError::Apply { kind: K::KIND, name: name.to_owned(), source }
        })?;
        let after = Observed::of(answer.meta());
        let child = (K::KIND, name);
        let changed =
            self.scope.memory.applied(self.uid(), child, hash, (seen, after), Instant::now());
        metrics.applied(K::KIND, if changed { "changed" } else { "unchanged" });
        // a resync finds what the watch could not show
        if changed && matches!(verdict, Verdict::Drifted | Verdict::Current) {
            self.put_back::<K>(K::KIND, name);
        }
        tracing::debug!(kind = K::KIND, name, ?verdict, changed, "applied");
        Ok(answer)
    }

    fn put_back<K: Resource<DynamicType = ()>>(&mut self, kind: &str, name: &str) {
        self.scope.shared.metrics.healed(kind);
        self.healed.push(ObjectReference {
            api_version: Some(K::api_version(&()).into_owned()),
            kind: Some(kind.to_owned()),
            name: Some(name.to_owned()),
            namespace: Some(self.identity.namespace.clone()),
            ..ObjectReference::default()
        });
    }

    /// Makes the operator the owner of what others have added to its parts, so that the apply removes it.
    async fn take_additions<K: Child>(&self, name: &str) -> Result<(), StepError> {
        let params =
            PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        for tries_left in (0..TAKE_TRIES).rev() {
            let Some(found) = self.look_up::<K>(name).await? else { return Ok(()) };
            let entries = found.managed_fields.unwrap_or_default();
            let Some(entries) = ownership::absorb(entries, K::OWNED) else { return Ok(()) };
            let patch = json!({
                "metadata": { "managedFields": entries, "resourceVersion": found.resource_version },
            });
            match self.api::<K>().patch_metadata(name, &params, &Patch::Merge(&patch)).await {
                Ok(_) => return Ok(()),
                // its status was written in between
                Err(kube::Error::Api(status)) if status.is_conflict() && tries_left > 0 => {}
                Err(source) => {
                    let name = name.to_owned();
                    return Err(StepError::Apply { kind: K::KIND, name, source });
                }
            }
        }
        Ok(())
    }

    async fn look_up<K: Child>(&self, name: &str) -> Result<Option<ObjectMeta>, StepError> {
        let found = self.api::<K>().get_metadata_opt(name).await;
        let failed = |source| StepError::LookUp { kind: K::KIND, name: name.to_owned(), source };
        found.map(|found| found.map(|found| found.metadata)).map_err(failed)
    }

    /// Refuses to touch an object that belongs to someone else.
    fn refuse_foreign<K: Child>(&self, found: &ObjectMeta, applied: bool) -> Result<(), StepError> {
        if is_ours(found, self.uid(), applied) {
            return Ok(());
        }
        let name = found.name.clone().unwrap_or_default();
        Err(StepError::NotOurs { kind: K::KIND, name })
    }

    /// Creates the Secret unless it is known to be there. An existing one is never read nor changed. While all pods
    /// run, only a resync notices that it is gone. Returns the uid of the one made in place of a deleted one.
    async fn secret(
        &mut self,
        mut secret: Secret,
        hint: SecretHint,
    ) -> Result<Option<String>, StepError> {
        let (memory, now) = (&self.scope.memory, Instant::now());
        let doubtful = memory.secret_is_doubtful(self.uid(), now);
        if !hint.pods_run || doubtful {
            self.look_again_in(random::between(SECRET_PERIOD, SECRET_PERIOD + SECRET_PERIOD / 2));
        }
        let fresh = !hint.created || !hint.pods_run || doubtful;
        let due = fresh && memory.secret_due(self.uid(), SECRET_PERIOD, now);
        if !due && !self.resync {
            return Ok(hint.remade_uid);
        }
        let password = random::password(PASSWORD_LENGTH).map_err(StepError::Password)?;
        let data = secret.string_data.get_or_insert_default();
        data.insert("password".to_owned(), password);
        let name = secret.name_any();
        let api: Api<Secret> = Api::namespaced(self.scope.client.clone(), &self.identity.namespace);
        let params =
            PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let metrics = &self.scope.shared.metrics;
        match api.create(&params, &secret).await {
            Ok(made) => {
                metrics.applied("Secret", "changed");
                if !hint.created {
                    return Ok(None);
                }
                self.put_back::<Secret>("Secret", &name);
                memory.secret_remade(self.uid(), made.metadata.uid.clone(), now);
                Ok(made.metadata.uid)
            }
            Err(kube::Error::Api(status)) if status.is_already_exists() => {
                metrics.applied("Secret", "unchanged");
                if !hint.created {
                    memory.doubt_secret(self.uid(), SECRET_DOUBT, now);
                    self.look_again_in(SECRET_PERIOD);
                }
                Ok(hint.remade_uid)
            }
            Err(source) => {
                metrics.applied("Secret", "error");
                Err(StepError::Apply { kind: "Secret", name, source })
            }
        }
    }

    /// Deletes a child of this server that is no longer wanted.
    async fn absent<K: Child>(&self, name: &str) -> Result<(), StepError> {
        let Some(meta) = K::stored(&self.scope.stores, &self.identity.namespace, name) else {
            return Ok(());
        };
        let owners = meta.owner_references.unwrap_or_default();
        if meta.deletion_timestamp.is_some() || owners.iter().all(|owner| owner.uid != self.uid()) {
            return Ok(());
        }
        let preconditions = Preconditions { uid: meta.uid, resource_version: None };
        let params = DeleteParams::background().preconditions(preconditions);
        match self.api::<K>().delete(name, &params).await {
            Ok(_) => self.scope.shared.metrics.applied(K::KIND, "deleted"),
            Err(kube::Error::Api(status)) if status.is_not_found() || status.is_conflict() => {}
            Err(source) => {
                let name = name.to_owned();
                return Err(StepError::Delete { kind: K::KIND, name, source });
            }
        }
        Ok(())
    }
}

/// Hash of an object as it would be applied. Maps are sorted, so equal objects have equal hashes.
fn hash<K: Child>(desired: &K) -> Result<String, StepError> {
    let encoded = serde_json::to_vec(desired);
    let failed = |source| StepError::Encode { kind: K::KIND, name: desired.name_any(), source };
    let bytes = encoded.map_err(failed)?;
    Ok(blake3::hash(&bytes).to_hex()[..16].to_owned())
}

#[cfg(test)]
mod tests;
