"""Values for every branch of the templates. Each case is linted, rendered and held against Kubernetes' schemas."""

# Selectors of every kind, which both modes take.
SELECTORS = {
    "namespaceSelector": {
        "matchLabels": {"team": "a"},
        "matchExpressions": [{"key": "no", "operator": "DoesNotExist"}],
    },
    "objectSelector": {
        "matchLabels": {"app": "a"},
        "matchExpressions": [{"key": "tier", "operator": "In", "values": ["web"]}],
    },
    "matchConditions": [{"name": "not-the-batch-user", "expression": "request.userInfo.username != 'batch'"}],
}

MONITOR = {
    "enabled": True,
    "namespace": "monitoring",
    "labels": {"release": "prometheus"},
    "annotations": {"example.com/a": "b"},
    "interval": "30s",
    "scrapeTimeout": "5s",
    "honorLabels": True,
    "relabelings": [{"action": "labeldrop", "regex": "pod"}],
    "metricRelabelings": [{"action": "drop", "regex": "process_.*", "sourceLabels": ["__name__"]}],
}

RUNBOOK = "https://docs.example.com/runbook.html"

# A ConfigMap of authorities, for commands that fetch what the issuer publishes.
AUTHORITIES = {"configMap": "public-authorities", "key": "bundle.pem"}

CASES = {
    "defaults": {},
    "disabled": {"enabled": False, "extraObjects": [{"apiVersion": "v1", "kind": "ConfigMap"}]},
    "replicas-left-out": {"replicaCount": None},
    "one-replica": {"replicaCount": 1},
    "tls-self-managed-options": {
        "tls": {
            "clusterDomain": "example.internal",
            "selfManaged": {
                "secretName": "certs",
                "caValidity": "2years",
                "leafValidity": "60days",
                "rotationOverlap": "1h30m",
            },
        }
    },
    "tls-cert-manager": {"tls": {"mode": "certManager"}, "webhook": {"annotations": {"example.com/a": "b"}}},
    "tls-cert-manager-issuer": {
        "tls": {"mode": "certManager", "certManager": {"issuerRef": {"name": "corporate", "kind": "ClusterIssuer"}}}
    },
    "tls-secret": {"tls": {"mode": "secret", "secret": {"name": "mine", "caBundle": "LS0tLS1CRUdJTg=="}}},
    "tls-secret-without-bundle": {"tls": {"mode": "secret", "secret": {"name": "mine"}}, "replicaCount": 1},
    "config-map": {"config": {"watchConfigMap": True}, "tls": {"mode": "certManager"}},
    "config-map-by-env": {"env": {"WATCH_CONFIG_MAP": True}},
    "config-map-not": {"config": {"watchConfigMap": False}, "env": {"WATCH_CONFIG_MAP": True}},
    "host-network": {"hostNetwork": True, "containerPort": 9443, "adminPort": 9091},
    "host-network-dns": {"hostNetwork": True, "dnsPolicy": "Default"},
    "private-gke": {"containerPort": 10250, "networkPolicy": {"enabled": True}},
    "gke-quota": {"resourceQuota": {"enabled": True, "pods": 10}},
    "without-ipv6": {"listenAddress": "0.0.0.0"},
    "fail-closed": {
        "replicaCount": 1,
        "webhook": {
            "failurePolicy": "Fail",
            "timeoutSeconds": 10,
            "reinvocationPolicy": "Never",
            "excludedNamespaces": [],
        },
    },
    "selectors": {
        "webhook": SELECTORS,
        "requirePodIdentity": {"enabled": True},
    },
    "require": {"requirePodIdentity": {"enabled": True}},
    "annotation-policy-denies": {"annotationPolicy": {"action": "Deny"}, "config": {"annotationPrefix": "example.com/"}},
    "annotation-policy-off": {"annotationPolicy": {"action": "Off"}},
    "role-policy": {
        "rolePolicy": {"enabled": True, "default": "arn:aws:iam::111122223333:role/tenants/{namespace}/*"}
    },
    "role-policy-mappings": {
        "rolePolicy": {"enabled": True, "default": "arn:aws:iam::111122223333:role/tenants/{namespace}/*"},
        "config": {"watchConfigMap": True},
        "checks": {"audit": {"enabled": True}},
    },
    "role-policy-mappings-warns": {
        "rolePolicy": {"enabled": True, "default": "deny", "action": "Warn"},
        "config": {"watchConfigMap": True},
    },
    "role-policy-warns": {
        "rolePolicy": {"enabled": True, "default": "deny", "action": "Warn"},
        "config": {"awsAccountId": "111122223333", "annotationPrefix": "example.com"},
    },
    "require-with-policy": {
        "requirePodIdentity": {"enabled": True, "validatingPolicy": True},
        "config": {"annotationPrefix": "example.com/"},
    },
    "prefix-by-env": {"env": {"ANNOTATION_PREFIX": "example.org"}, "requirePodIdentity": {"enabled": True}},
    "network-policy-egress": {
        "networkPolicy": {
            "enabled": True,
            "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
            "egress": {"enabled": True, "apiServer": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "apiServerPorts": [8443]},
        }
    },
    "network-policy-egress-anywhere": {"networkPolicy": {"enabled": True, "egress": {"enabled": True, "dns": False}}},
    "service-monitor": {"serviceMonitor": MONITOR},
    "pod-monitor": {"podMonitor": MONITOR},
    "observability": {
        "serviceMonitor": {"enabled": True},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
        "dashboards": {"enabled": True, "annotations": {"grafana_folder": "AWS"}},
    },
    "observability-elsewhere": {
        "runbookUrl": RUNBOOK,
        "prometheusRule": {
            "enabled": True,
            "namespace": "monitoring",
            "annotations": {"a": "b"},
            "disabled": ["PodIdentityWebhookSlow"],
            "overrides": {"PodIdentityWebhookAbsent": {"for": "30m", "severity": "warning"}},
        },
        "dashboards": {
            "enabled": True,
            "namespace": "monitoring",
            "grafanaDashboard": {
                "enabled": True,
                "instanceSelector": {"matchLabels": {"grafana": "ours"}},
                "allowCrossNamespaceImport": False,
                "folder": "AWS",
            },
        },
    },
    "service": {
        "service": {
            "type": "NodePort",
            "port": 8443,
            "labels": {"c": "d"},
            "annotations": {"a": "b"},
            "ipFamilyPolicy": "PreferDualStack",
            "ipFamilies": ["IPv6", "IPv4"],
            "trafficDistribution": "PreferClose",
        }
    },
    "without-rbac": {"rbac": {"create": False}, "serviceAccount": {"create": False, "name": "theirs"}},
    "default-account": {"serviceAccount": {"create": False}},
    "own-account": {"serviceAccount": {"name": "mine", "labels": {"c": "d"}, "annotations": {"a": "b"}}},
    "names": {"fullnameOverride": "pod-identity", "nameOverride": "identity"},
    "long-name": {"fullnameOverride": "a" * 80, "checks": {"audit": {"enabled": True}}},
    "other-namespace": {
        "namespaceOverride": "identity",
        "tls": {"mode": "certManager"},
        "checks": {"certificateAuthorities": AUTHORITIES, "oidcVerify": {"enabled": True}, "audit": {"enabled": True}},
    },
    "common-metadata": {
        "commonLabels": {"team": "platform", "app.kubernetes.io/name": "never"},
        "commonAnnotations": {"example.com/owner": "platform", "a": "common"},
        "deploymentAnnotations": {"a": "own"},
        "checks": {"audit": {"enabled": True}},
        "autoscaling": {"enabled": True},
    },
    "image": {
        "image": {"repository": "registry.example.com/webhook", "tag": "9", "digest": "sha256:" + "0" * 64},
        "imagePullSecrets": [{"name": "registry"}],
    },
    "image-registry": {"image": {"registry": "registry.example.com/", "repository": "team/webhook"}},
    "globals": {
        "global": {"imageRegistry": "mirror.example.com", "imagePullSecrets": ["mirror", {"name": "other"}], "theirs": 1},
        "image": {"registry": "registry.example.com"},
        "imagePullSecrets": [{"name": "own"}],
        "checks": {"audit": {"enabled": True}},
    },
    "env": {
        "env": {
            "AWS_REGION": "us-west-2",
            "MAX_BODY_BYTES": 16777216,
            "STS_REGIONAL_ENDPOINTS": True,
            "DRAIN_DELAY": "10s",
        },
        "extraEnv": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
    },
    "extras": {
        "extraArgs": ["--log-level=debug"],
        "extraVolumes": [{"name": "record", "emptyDir": {"sizeLimit": "128Mi"}}],
        "extraVolumeMounts": [{"name": "record", "mountPath": "/record"}],
        "config": {"record": "/record"},
        "podAnnotations": {"a": "b"},
        "podLabels": {"app.kubernetes.io/name": "never", "c": "d"},
    },
    "more-containers": {
        "initContainers": [{"name": "wait", "image": "busybox:1", "command": ["true"]}],
        "extraContainers": [{"name": "proxy", "image": "proxy:1"}],
        "extraObjects": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "{{ .Release.Namespace }}"}},
            'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {{ include "eks-pod-identity-webhook.fullname" . }}-b\n'
            "  namespace: {{ .Release.Namespace }}\n",
        ],
    },
    "pod-fields": {
        "revisionHistoryLimit": 0,
        "dnsConfig": {"nameservers": ["10.0.0.10"], "options": [{"name": "ndots", "value": "1"}]},
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["api.example.com"]}],
        "runtimeClassName": "gvisor",
        "startupProbe": {"failureThreshold": 30, "periodSeconds": 1},
    },
    "autoscaling": {
        "autoscaling": {
            "enabled": True,
            "minReplicas": 3,
            "maxReplicas": 6,
            "targetCPUAverageValue": "1",
            "extraMetrics": [
                {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "200Mi"}}}
            ],
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 600}},
        }
    },
    "mappings": {
        "roleMappings": {
            "payments/api": {"RoleARN": "arn:aws:iam::111122223333:role/payments-api"},
            "*/dns": {"RoleARN": "dns", "Audience": "a", "TokenExpiration": 86400, "UseRegionalSTS": True},
        },
        "containerCredentials": [{"namespace": "orders", "serviceAccount": "db"}],
        "checks": {"audit": {"enabled": True}},
    },
    "checks": {
        "config": {"awsRegion": "eu-west-1", "drainDelay": "1s", "awsAccountId": "011122223333"},
        "env": {"TOKEN_AUDIENCE": "sts.example.com"},
        "checks": {
            "certificateAuthorities": AUTHORITIES,
            "oidcVerify": {"enabled": True, "schedule": "@daily", "extraArgs": ["--issuer=https://oidc.example.com"]},
            "audit": {"enabled": True, "schedule": "0 5 * * 1", "extraArgs": ["--output=json"]},
        },
        "test": {"serviceAccount": "payments/api"},
    },
    "checks-without-rbac": {
        "rbac": {"create": False},
        "checks": {"certificateAuthorities": AUTHORITIES, "oidcVerify": {"enabled": True}, "audit": {"enabled": True}},
    },
    "extras-with-files": {
        "tls": {"mode": "secret", "secret": {"name": "mine"}},
        "extraVolumes": [{"name": "authorities", "configMap": {"name": "authorities"}}],
        "extraVolumeMounts": [{"name": "authorities", "mountPath": "/authorities"}],
        "config": {"tlsClientCaFile": "/authorities/ca.crt"},
    },
    "scheduling": {
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "rack",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"app": "all"}},
            }
        ],
        "affinity": {"nodeAffinity": {}},
        "nodeSelector": {"pool": "system"},
        "tolerations": [{"key": "CriticalAddonsOnly", "operator": "Exists"}],
        "priorityClassName": "ours",
        "updateStrategy": {"type": "Recreate"},
        "terminationGracePeriodSeconds": 60,
    },
    "little": {
        "priorityClassName": "",
        "podDisruptionBudget": {"enabled": False},
        "topologySpreadConstraints": [],
        "nodeSelector": None,
        "resources": None,
        "podSecurityContext": None,
        "securityContext": None,
        "livenessProbe": None,
        "readinessProbe": None,
    },
    "every-setting": {
        "tls": {"mode": "secret", "secret": {"name": "mine", "caBundle": "LS0tLS1CRUdJTg=="}},
        "config": {
            "compat": "aws",
            "awsRegion": "",
            "annotationPrefix": "example.com",
            "tokenAudience": "sts.example.com",
            "tokenExpiration": 4294967296,
            "tokenMountPath": "/var/run/token",
            "tokenVolumeName": "token",
            "stsRegionalEndpoints": True,
            "injectEnv": ["AWS_EC2_METADATA_DISABLED=true"],
            "sessionName": "none",
            "awsAccountId": "011122223333",
            "awsPartition": "aws-cn",
            "watchConfigMap": True,
            "watchContainerCredentialsConfig": "/identities/identities.json",
            "containerCredentialsAudience": "agent.example.com",
            "containerCredentialsTokenMountPath": "/var/run/agent",
            "containerCredentialsTokenVolumeName": "agent",
            "containerCredentialsTokenPath": "agent/token",
            "containerCredentialsFullUri": "http://localhost:9911/",
            "metricsNamespaces": 20,
            "debugEndpoints": True,
            "lookupGrace": "500ms",
            "maxBodyBytes": 67108864,
            "maxRequestMemory": 134217728,
            "maxConnections": 1000000,
            "tlsHandshakeTimeout": "5s",
            "headerTimeout": "5s",
            "bodyTimeout": "5s",
            "writeTimeout": "3s",
            "threads": 4,
            "http2": "off",
            "idleTimeout": "2m30s",
            "drainDelay": "1500ms",
            "drainTimeout": "1m",
            "reloadInterval": "10s",
            "tlsMinVersion": "1.3",
            "tlsClientCaFile": "/authorities/ca.crt",
            "serviceAccounts": "/accounts",
            "kubeconfig": "/kubeconfig",
            "context": "other",
            "record": "/record",
            "recordMaxFiles": 10,
            "recordMaxBytes": 1048576,
            "logLevel": "debug",
            "logFormat": "json",
        }
    },
    "control-plane": {"controlPlane": {"enabled": True}},
    "control-plane-options": {
        "controlPlane": {
            "enabled": True,
            "port": 9443,
            "adminAddress": "[::]",
            "adminPort": 9444,
            "affinity": {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "role", "operator": "In", "values": ["api"]}]}]
                    }
                }
            },
            "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}],
            "priorityClassName": "ours",
        },
        "tls": {"mode": "certManager"},
        "requirePodIdentity": {"enabled": True},
        "podMonitor": MONITOR,
        "startupProbe": {"failureThreshold": 30},
        "revisionHistoryLimit": 1,
    },
    "control-plane-secret": {
        "controlPlane": {"enabled": True},
        "tls": {"mode": "secret", "secret": {"name": "mine", "caBundle": "LS0tLS1CRUdJTg=="}},
        "dnsPolicy": "Default",
    },
    "policy": {"mode": "policy"},
    "policy-checks": {
        "mode": "policy",
        "config": {"drainDelay": "1s"},
        "env": {"LOG_LEVEL": "debug", "STS_REGIONAL_ENDPOINTS": True},
        "checks": {"audit": {"enabled": True}},
    },
    "policy-settings": {
        "mode": "policy",
        "config": {
            "awsRegion": "",
            "annotationPrefix": "example.com",
            "tokenAudience": "sts.example.com",
            "tokenExpiration": 7200,
            "tokenMountPath": "/var/run/token/",
            "tokenVolumeName": "token",
            "stsRegionalEndpoints": True,
            "awsAccountId": "011122223333",
            "sessionName": "none",
            "injectEnv": ["AWS_EC2_METADATA_DISABLED=true", 'GREETING=a "b"=\\c'],
        },
    },
    "policy-selectors": {
        "mode": "policy",
        "policy": {"serviceAccountSelector": {"matchLabels": {"has": "role"}}},
        "env": {"AWS_REGION": "us-west-2", "AWS_ACCOUNT_ID": 11122223333, "AWS_PARTITION": "aws-cn", "INJECT_ENV": "A=b\nC=d=e"},
        "webhook": {"failurePolicy": "Fail", **SELECTORS},
    },
    "policy-require": {"mode": "policy", "requirePodIdentity": {"enabled": True, "validatingPolicy": True}},
}

# The cases in which the program runs, on the control plane and behind a Service.
CONTROL_PLANE = [name for name, values in CASES.items() if "controlPlane" in values]
WEBHOOK = [
    name
    for name, values in CASES.items()
    if values.get("mode") != "policy" and values.get("enabled") is not False and name not in CONTROL_PLANE
]
