"""What is served of extensions' configurations, Envoy's and Istio's."""

from __future__ import annotations

# fmt: off
EXTENSIONS: dict[str, str] = {
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": "path format json_format typed_json_format log_format",
    "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter": "expression",
    "envoy.extensions.access_loggers.grpc.v3.CommonGrpcAccessLogConfig":
        "log_name grpc_service transport_api_version buffer_flush_interval buffer_size_bytes "
        "filter_state_objects_to_log custom_tags",
    "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig":
        "common_config additional_request_headers_to_log additional_response_headers_to_log "
        "additional_response_trailers_to_log",
    "envoy.extensions.access_loggers.grpc.v3.TcpGrpcAccessLogConfig": "common_config",
    "envoy.extensions.access_loggers.open_telemetry.v3.OpenTelemetryAccessLogConfig":
        "common_config disable_builtin_labels resource_attributes body attributes stat_prefix",
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": "log_format",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": "log_format",
    "envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor": "entries token_bucket",
    "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry": "key value",
    "envoy.extensions.compression.brotli.compressor.v3.Brotli": "quality encoder_mode window_bits input_block_bits",
    "envoy.extensions.compression.gzip.compressor.v3.Gzip":
        "memory_level compression_level compression_strategy window_bits",
    "envoy.extensions.compression.gzip.decompressor.v3.Gzip": "window_bits max_inflate_ratio",
    "envoy.extensions.compression.zstd.compressor.v3.Zstd": "compression_level enable_checksum strategy",
    "envoy.extensions.filters.common.fault.v3.FaultDelay": "fixed_delay header_delay percentage",
    "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue":
        "object_key factory_key format_string skip_if_empty",
    "envoy.extensions.filters.http.buffer.v3.Buffer": "max_request_bytes",
    "envoy.extensions.filters.http.buffer.v3.BufferPerRoute": "disabled buffer",
    "envoy.extensions.filters.http.compressor.v3.Compressor":
        "content_length compressor_library request_direction_config response_direction_config choose_first",
    "envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig":
        "enabled min_content_length content_type",
    "envoy.extensions.filters.http.compressor.v3.Compressor.RequestDirectionConfig": "common_config",
    "envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig":
        "common_config disable_on_etag_header remove_accept_encoding_header uncompressible_response_codes "
        "status_header_enabled",
    "envoy.extensions.filters.http.compressor.v3.CompressorOverrides": "response_direction_config",
    "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute": "disabled overrides",
    "envoy.extensions.filters.http.compressor.v3.ResponseDirectionOverrides": "remove_accept_encoding_header",
    "envoy.extensions.filters.http.cors.v3.CorsPolicy":
        "allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials "
        "filter_enabled shadow_enabled allow_private_network_access forward_not_matching_preflights",
    "envoy.extensions.filters.http.csrf.v3.CsrfPolicy": "filter_enabled shadow_enabled additional_origins",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor":
        "decompressor_library request_direction_config response_direction_config",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor.CommonDirectionConfig": "enabled",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor.RequestDirectionConfig":
        "common_config advertise_accept_encoding",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor.ResponseDirectionConfig": "common_config",
    "envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest": "allowed_headers headers_to_add",
    "envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse":
        "allowed_upstream_headers allowed_upstream_headers_to_append allowed_client_headers "
        "allowed_client_headers_on_success",
    "envoy.extensions.filters.http.ext_authz.v3.BufferSettings":
        "max_request_bytes allow_partial_message pack_as_bytes",
    "envoy.extensions.filters.http.ext_authz.v3.CheckSettings":
        "context_extensions disable_request_body_buffering with_request_body",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz":
        "grpc_service http_service transport_api_version failure_mode_allow failure_mode_allow_header_add "
        "with_request_body clear_route_cache status_on_error metadata_context_namespaces filter_enabled "
        "filter_enabled_metadata deny_at_disable include_peer_certificate stat_prefix allowed_headers "
        "disallowed_headers include_tls_session charge_cluster_response_stats",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute": "disabled check_settings",
    "envoy.extensions.filters.http.ext_authz.v3.HttpService":
        "server_uri path_prefix authorization_request authorization_response",
    "envoy.extensions.filters.http.fault.v3.FaultAbort": "http_status grpc_status header_abort percentage",
    "envoy.extensions.filters.http.fault.v3.HTTPFault":
        "delay abort upstream_cluster headers downstream_nodes max_active_faults",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig":
        "emit_filter_state individual_method_stats_allowlist stats_for_all_methods enable_upstream_stats "
        "replace_dots_in_grpc_service_name",
    "envoy.extensions.filters.http.header_to_metadata.v3.Config": "request_rules response_rules",
    "envoy.extensions.filters.http.header_to_metadata.v3.Config.KeyValuePair":
        "metadata_namespace key value regex_value_rewrite type encode",
    "envoy.extensions.filters.http.header_to_metadata.v3.Config.Rule":
        "header cookie on_header_present on_header_missing remove",
    "envoy.extensions.filters.http.health_check.v3.HealthCheck":
        "pass_through_mode cache_time cluster_min_healthy_percentages headers",
    "envoy.extensions.filters.http.jwt_authn.v3.FilterStateRule": "name requires",
    "envoy.extensions.filters.http.jwt_authn.v3.JwksAsyncFetch": "fast_listener failed_refetch_duration",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication":
        "providers rules filter_state_rules bypass_cors_preflight requirement_map strip_failure_response "
        "stat_prefix",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader": "header_name claim_name",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtHeader": "name value_prefix",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider":
        "issuer audiences subjects require_expiration max_lifetime remote_jwks local_jwks forward from_headers "
        "from_params from_cookies forward_payload_header pad_forward_payload_header payload_in_metadata "
        "normalize_payload_in_metadata header_in_metadata failed_status_in_metadata clock_skew_seconds "
        "claim_to_headers clear_route_cache",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload": "space_delimited_claims",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement":
        "provider_name provider_and_audiences requires_any requires_all allow_missing_or_failed allow_missing",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementAndList": "requirements",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList": "requirements",
    "envoy.extensions.filters.http.jwt_authn.v3.PerRouteConfig": "disabled requirement_name",
    "envoy.extensions.filters.http.jwt_authn.v3.ProviderWithAudiences": "provider_name audiences",
    "envoy.extensions.filters.http.jwt_authn.v3.RemoteJwks": "http_uri cache_duration async_fetch",
    "envoy.extensions.filters.http.jwt_authn.v3.RequirementRule": "match requires requirement_name",
    "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit":
        "stat_prefix status token_bucket filter_enabled filter_enforced request_headers_to_add_when_not_enforced "
        "response_headers_to_add descriptors stage local_rate_limit_per_downstream_connection "
        "enable_x_ratelimit_headers vh_rate_limits always_consume_default_token_bucket "
        "rate_limited_as_resource_exhausted rate_limits max_dynamic_descriptors",
    "envoy.extensions.filters.http.ratelimit.v3.RateLimit":
        "domain stage request_type timeout failure_mode_deny rate_limited_as_resource_exhausted "
        "rate_limit_service enable_x_ratelimit_headers disable_x_envoy_ratelimited_header rate_limited_status "
        "response_headers_to_add status_on_error stat_prefix filter_enabled filter_enforced rate_limits",
    "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute": "vh_rate_limits rate_limits domain",
    "envoy.extensions.filters.http.rbac.v3.RBAC":
        "rules rules_stat_prefix matcher shadow_rules shadow_matcher shadow_rules_stat_prefix track_per_rule_stats",
    "envoy.extensions.filters.http.rbac.v3.RBACPerRoute": "rbac",
    "envoy.extensions.filters.http.router.v3.Router":
        "upstream_log suppress_envoy_headers strict_check_headers respect_expected_rq_timeout upstream_http_filters",
    "envoy.extensions.filters.http.set_filter_state.v3.Config": "on_request_headers",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSession": "session_state",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute": "disabled stateful_session",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol":
        "rules allow_requests_without_proxy_protocol disallowed_versions",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair": "metadata_namespace key",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule": "tlv_type on_tlv_present",
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": "stat_prefix max_connections",
    "envoy.extensions.filters.network.ext_authz.v3.ExtAuthz":
        "stat_prefix grpc_service failure_mode_allow include_peer_certificate transport_api_version "
        "filter_enabled_metadata include_tls_session metadata_context_namespaces",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager":
        "codec_type stat_prefix rds route_config http_filters add_user_agent tracing common_http_protocol_options "
        "http_protocol_options http2_protocol_options server_name server_header_transformation "
        "scheme_header_transformation max_request_headers_kb stream_idle_timeout request_timeout "
        "request_headers_timeout drain_timeout delayed_close_timeout access_log access_log_options "
        "use_remote_address xff_num_trusted_hops internal_address_config skip_xff_append via generate_request_id "
        "preserve_external_request_id always_set_request_id_in_response forward_client_cert_details "
        "set_current_client_cert_details proxy_100_continue upgrade_configs normalize_path merge_slashes "
        "path_with_escaped_slashes_action request_id_extension local_reply_config strip_matching_host_port "
        "strip_any_host_port stream_error_on_invalid_http_message strip_trailing_host_dot append_x_forwarded_port",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.HcmAccessLogOptions":
        "flush_access_log_on_new_request",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig":
        "unix_sockets cidr_ranges",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails":
        "subject cert chain dns uri",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing":
        "client_sampling random_sampling overall_sampling max_path_tag_length custom_tags provider spawn_upstream_span "
        "operation no_context_propagation",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig":
        "upgrade_type filters enabled",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter":
        "name typed_config config_discovery is_optional disabled",
    "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig": "mappers body_format",
    "envoy.extensions.filters.network.http_connection_manager.v3.Rds": "config_source route_config_name",
    "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension": "typed_config",
    "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper":
        "filter status_code body body_format_override headers_to_add",
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit": "stat_prefix token_bucket runtime_enabled",
    "envoy.extensions.filters.network.rbac.v3.RBAC":
        "rules matcher shadow_rules shadow_matcher shadow_rules_stat_prefix stat_prefix enforcement_type",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy":
        "stat_prefix cluster weighted_clusters idle_timeout access_log max_connect_attempts hash_policy "
        "max_downstream_connection_duration access_log_options tunneling_config backoff_options",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions": "flush_access_log_on_connected",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TunnelingConfig":
        "hostname use_post headers_to_add propagate_response_headers post_path propagate_response_trailers",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster": "clusters",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": "name weight",
    "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig":
        "use_hostname_for_hashing",
    "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig":
        "locality_weighted_lb_config",
    "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig":
        "slow_start_window aggression min_weight_percent",
    "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest":
        "choice_count active_request_bias slow_start_config locality_lb_config",
    "envoy.extensions.load_balancing_policies.maglev.v3.Maglev":
        "table_size consistent_hashing_lb_config locality_weighted_lb_config",
    "envoy.extensions.load_balancing_policies.random.v3.Random":
        "locality_lb_config",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash":
        "minimum_ring_size maximum_ring_size consistent_hashing_lb_config locality_weighted_lb_config",
    "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin":
        "slow_start_config locality_lb_config",
    "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig": "path_template",
    "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig": "path_template_rewrite",
    "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig": "pack_trace_reason use_request_id_for_trace_sampling",
    "envoy.extensions.resource_monitors.cgroup_memory.v3.CgroupMemoryConfig": "max_memory_bytes",
    "envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig": "mode",
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig":
        "max_active_downstream_connections",
    "envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig": "max_heap_size_bytes",
    "envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig": "filename",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig": "update_frequency",
    "envoy.extensions.tracers.opentelemetry.resource_detectors.v3.StaticConfigResourceDetectorConfig": "attributes",
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport": "config transport_socket",
    "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext":
        "trusted_ca system_root_certs verify_certificate_hash match_typed_subject_alt_names "
        "match_subject_alt_names crl allow_expired_certificate trust_chain_verification only_verify_leaf_cert_crl",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext":
        "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context "
        "validation_context_sds_secret_config combined_validation_context alpn_protocols",
    "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext":
        "default_validation_context validation_context_sds_secret_config",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext":
        "common_tls_context require_client_certificate ocsp_staple_policy",
    "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig": "name sds_config",
    "envoy.extensions.transport_sockets.tls.v3.Secret": "name tls_certificate validation_context",
    "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher": "san_type matcher",
    "envoy.extensions.transport_sockets.tls.v3.TlsCertificate": "certificate_chain private_key password",
    "envoy.extensions.transport_sockets.tls.v3.TlsParameters":
        "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves signature_algorithms",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext": "common_tls_context sni max_session_keys",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions":
        "common_http_protocol_options upstream_http_protocol_options explicit_http_config "
        "use_downstream_protocol_config auto_config http_filters",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig":
        "http_protocol_options http2_protocol_options",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig":
        "http_protocol_options http2_protocol_options",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig":
        "http_protocol_options http2_protocol_options",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": "alpn_override",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride": "upstream_protocol alpn_override",
    "stats.MetricConfig": "dimensions name tags_to_remove match drop",
    "stats.PluginConfig": "disable_host_header_fallback metrics reporter tcp_reporting_duration",
}
# fmt: on
