//! What a user asks for. An absent field means the server's own default: the operator keeps no second set of them.

use super::HarperServerStatus;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a Harper server should be. An empty spec is a complete one: a single server with a persistent volume.
#[derive(CustomResource, KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "harper.dev",
    version = "v1alpha1",
    kind = "HarperServer",
    plural = "harperservers",
    namespaced,
    derive = "PartialEq",
    doc = "A Harper server: its configuration, applications and storage.",
    status = "HarperServerStatus",
    shortname = "hs",
    category = "harper",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Image", type_ = "string", json_path = ".status.image", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("size(self.metadata.name) <= 52 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("the name is part of Service and pod names: at most 52 of a-z, 0-9 and '-', starting with a letter"),
    validation = Rule::new("!self.metadata.name.endsWith('-headless')")
        .message("NAME-headless is the name of a Service of the server NAME")
)]
#[serde(rename_all = "camelCase")]
pub struct HarperServerSpec {
    /// Container image; by default the one the operator was installed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,

    /// Number of pods: 0 or 1. More needs the distributed engine, which does not exist yet.
    #[serde(default = "one_replica")]
    #[schemars(range(min = 0))]
    #[x_kube(validation = Rule::new("self <= 1").message("more than one replica needs the distributed engine, which does not exist yet: two pods would hold different data"))]
    pub replicas: i32,

    /// Stops every write of the operator for this server; its status is still reported.
    #[serde(default)]
    pub paused: bool,

    /// Applications, each from a ConfigMap, served from /etc/harper/components/NAME.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub components: Vec<Component>,

    /// The application listener.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpSpec>,

    /// Worker threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<ThreadsSpec>,

    /// The server's log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logging: Option<LoggingSpec>,

    /// Any other key of harperdb-config.yaml, nested as in that file. A typed field of this spec wins over the same
    /// key here. The server's own validator checks it before anything is applied.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "free_object")]
    pub config: Option<serde_json::Map<String, serde_json::Value>>,

    /// Where the databases live.
    #[serde(default)]
    pub storage: StorageSpec,

    /// The administrator's credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin: Option<AdminSpec>,

    /// CPU and memory of the container. Where neither a request nor a limit is given, 100m and 128Mi are requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourcesSpec>,

    /// The Service for clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceSpec>,

    /// Which nodes may run the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<SchedulingSpec>,

    /// Added to the pods' labels; the operator's own labels win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_labels: BTreeMap<String, String>,

    /// Added to the pods' annotations; the operator's own annotations win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pod_annotations: BTreeMap<String, String>,

    /// Time a pod has to finish its requests and close its databases, in seconds.
    #[serde(default = "grace_seconds")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: i64,
}

impl Default for HarperServerSpec {
    fn default() -> Self {
        Self {
            image: None,
            replicas: one_replica(),
            paused: false,
            components: Vec::new(),
            http: None,
            threads: None,
            logging: None,
            config: None,
            storage: StorageSpec::default(),
            admin: None,
            resources: None,
            service: None,
            scheduling: None,
            pod_labels: BTreeMap::new(),
            pod_annotations: BTreeMap::new(),
            termination_grace_period_seconds: grace_seconds(),
        }
    }
}

/// Container image. Without a repository, the tag or digest applies to the operator's default image.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// Registry and path, without tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub repository: Option<String>,
    /// Tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$"))]
    pub tag: Option<String>,
    /// Digest; wins over the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = r"^sha256:[a-f0-9]{64}$"))]
    pub digest: Option<String>,
    /// When the image is pulled; by default as Kubernetes decides from the tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_policy: Option<PullPolicy>,
    /// Secrets of the namespace with registry credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub pull_secrets: Vec<LocalReference>,
}

/// When an image is pulled.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "Kubernetes' own words; text on them would make the schema repeat itself"
)]
pub enum PullPolicy {
    Always,
    IfNotPresent,
    Never,
}

/// The name of an object in the same namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LocalReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// An application.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name, a DNS label; the folder it is served from.
    #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,
    /// The ConfigMap that holds its files. An edit of the ConfigMap rolls the pods.
    pub config_map_ref: ConfigMapReference,
}

/// Files from a ConfigMap of the same namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConfigMapReference {
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Which keys become files; all of them, under their own names, when absent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    pub items: Vec<ComponentItem>,
}

/// One file.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentItem {
    /// Key in the ConfigMap.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
    /// Path in the application's folder; the key when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    #[x_kube(validation = Rule::new("!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')").message("the path is relative and has no '..'"))]
    pub path: Option<String>,
}

/// The application listener: the `http` section of harperdb-config.yaml.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpSpec {
    /// Port of the listener and of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
    /// Larger bodies are compressed, in bytes; 0 switches compression off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub compression_threshold: Option<i64>,
    /// Whether cross-origin requests are answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cors: Option<bool>,
    /// Origins that may send credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub cors_access_list: Option<Vec<String>>,
    /// Time for a whole request, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub timeout: Option<i64>,
    /// Time for all request headers, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub headers_timeout: Option<i64>,
    /// Time an idle connection is kept, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub keep_alive_timeout: Option<i64>,
    /// Size of the request headers, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub max_header_size: Option<i64>,
}

/// Worker threads: the `threads` section of harperdb-config.yaml.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThreadsSpec {
    /// How many, or `auto`: the CPU limit rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "int_or_string")]
    #[x_kube(validation = Rule::new("type(self) == int ? self >= 1 && self <= 1024 : self == 'auto'").message("a number from 1 to 1024, or auto"))]
    pub count: Option<IntOrString>,
}

/// The log: the `logging` section of harperdb-config.yaml.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoggingSpec {
    /// Lowest level that is logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<LogLevel>,
    /// Text or JSON lines; JSON in the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<LogFormat>,
}

/// A level of the log, in Harper's words.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(
    missing_docs,
    reason = "the server's own words; text on them would make the schema repeat itself"
)]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
    Notify,
}

/// Form of a log line.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(
    missing_docs,
    reason = "the server's own words; text on them would make the schema repeat itself"
)]
pub enum LogFormat {
    Text,
    Json,
}

/// Where the databases live. The type, class and size are part of the StatefulSet's volume claim, which Kubernetes
/// does not let change.
#[derive(KubeSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type == oldSelf.type").message("the type of the storage cannot change: make a new HarperServer and copy the data"),
    validation = Rule::new("self.type == 'Ephemeral' || (has(self.storageClassName) ? self.storageClassName : '') == (has(oldSelf.storageClassName) ? oldSelf.storageClassName : '')").message("the storage class cannot change: make a new HarperServer and copy the data"),
    validation = Rule::new("self.type == 'Ephemeral' || !isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) == 0").message("the size cannot change yet: grow the claims data-NAME-N themselves, and keep the size here")
)]
pub struct StorageSpec {
    /// Persistent: a volume claim for each pod, kept when the server is deleted. Ephemeral: an emptyDir, lost with
    /// the pod.
    #[serde(default, rename = "type")]
    pub type_: StorageType,
    /// Size of the claim, or the limit of the emptyDir.
    #[serde(default = "storage_size")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(validation = Rule::new("isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))").message("a quantity above zero, such as 10Gi"))]
    pub size: String,
    /// Storage class of the claim; the cluster's default when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub storage_class_name: Option<String>,
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self { type_: StorageType::Persistent, size: storage_size(), storage_class_name: None }
    }
}

/// How long the data lives.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "explained at the field")]
pub enum StorageType {
    #[default]
    Persistent,
    Ephemeral,
}

/// The administrator's credentials.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdminSpec {
    /// A Secret with the keys `username` and `password`, used instead of the one that the operator creates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<LocalReference>,
}

/// CPU and memory.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ResourcesSpec {
    /// Set aside for the container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub requests: BTreeMap<String, Quantity>,
    /// The most it may use. The number of worker threads follows the CPU limit.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "quantities")]
    pub limits: BTreeMap<String, Quantity>,
}

/// The Service for clients.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// Its type.
    #[serde(default, rename = "type")]
    pub type_: ServiceType,
    /// Added to its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Added to its labels; the operator's own labels win.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// Type of a Service.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "Kubernetes' own words; text on them would make the schema repeat itself"
)]
pub enum ServiceType {
    #[default]
    ClusterIP,
    NodePort,
    LoadBalancer,
}

/// Which nodes may run the pods.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SchedulingSpec {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that are tolerated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<TolerationSpec>,
}

/// A tolerated taint, as in a pod.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "Kubernetes' own fields")]
pub struct TolerationSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effect: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toleration_seconds: Option<i64>,
}

fn one_replica() -> i32 {
    1
}

fn grace_seconds() -> i64 {
    60
}

fn storage_size() -> String {
    "1Gi".to_owned()
}

fn free_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "nullable": true, "x-kubernetes-preserve-unknown-fields": true })
}

fn int_or_string(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "x-kubernetes-int-or-string": true, "nullable": true })
}

fn quantities(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": { "x-kubernetes-int-or-string": true },
    })
}
