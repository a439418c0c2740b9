"""Which fields of Envoy's messages this proxy serves: the data of the gate (supported.py).

By message, the fields that something reads and acts on. A field that is neither here nor in no_effect.py is refused by its
name. A test holds that every field of this list is really read.
"""

from __future__ import annotations

# fmt: off
FIELDS: dict[str, str] = {
    "envoy.config.accesslog.v3.AccessLog": "name filter typed_config",
    "envoy.config.accesslog.v3.AccessLogFilter":
        "status_code_filter duration_filter not_health_check_filter traceable_filter runtime_filter and_filter "
        "or_filter header_filter response_flag_filter grpc_status_filter metadata_filter log_type_filter",
    "envoy.config.accesslog.v3.AndFilter": "filters",
    "envoy.config.accesslog.v3.ComparisonFilter": "op value",
    "envoy.config.accesslog.v3.DurationFilter": "comparison",
    "envoy.config.accesslog.v3.GrpcStatusFilter": "statuses exclude",
    "envoy.config.accesslog.v3.HeaderFilter": "header",
    "envoy.config.accesslog.v3.LogTypeFilter": "types",
    "envoy.config.accesslog.v3.MetadataFilter": "matcher match_if_key_not_found",
    "envoy.config.accesslog.v3.OrFilter": "filters",
    "envoy.config.accesslog.v3.ResponseFlagFilter": "flags",
    "envoy.config.accesslog.v3.RuntimeFilter": "runtime_key percent_sampled",
    "envoy.config.accesslog.v3.StatusCodeFilter": "comparison",
    "envoy.config.bootstrap.v3.Admin": "access_log address",
    "envoy.config.bootstrap.v3.Bootstrap":
        "node static_resources dynamic_resources stats_config layered_runtime admin overload_manager "
        "application_log_config",
    "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig": "log_format",
    "envoy.config.bootstrap.v3.Bootstrap.ApplicationLogConfig.LogFormat": "json_format text_format",
    "envoy.config.bootstrap.v3.Bootstrap.DynamicResources": "lds_config cds_config ads_config",
    "envoy.config.bootstrap.v3.Bootstrap.StaticResources": "listeners clusters secrets",
    "envoy.config.bootstrap.v3.LayeredRuntime": "layers",
    "envoy.config.bootstrap.v3.RuntimeLayer": "name static_layer admin_layer",
    "envoy.config.cluster.v3.CircuitBreakers": "thresholds per_host_thresholds",
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds":
        "priority max_connections max_pending_requests max_requests max_retries retry_budget track_remaining",
    "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget": "budget_percent min_retry_concurrency",
    "envoy.config.cluster.v3.Cluster":
        "transport_socket_matches name alt_stat_name type eds_cluster_config connect_timeout "
        "per_connection_buffer_limit_bytes lb_policy load_assignment health_checks max_requests_per_connection "
        "circuit_breakers upstream_http_protocol_options common_http_protocol_options http_protocol_options "
        "http2_protocol_options typed_extension_protocol_options dns_refresh_rate dns_jitter dns_lookup_family "
        "outlier_detection cleanup_interval upstream_bind_config lb_subset_config ring_hash_lb_config "
        "maglev_lb_config original_dst_lb_config least_request_lb_config round_robin_lb_config common_lb_config "
        "transport_socket metadata protocol_selection upstream_connection_options filters",
    "envoy.config.cluster.v3.Cluster.CommonLbConfig":
        "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config consistent_hashing_lb_config",
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig": "use_hostname_for_hashing",
    "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig": "fail_traffic_on_panic",
    "envoy.config.cluster.v3.Cluster.EdsClusterConfig": "eds_config service_name",
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig":
        "fallback_policy default_subset subset_selectors panic_mode_any list_as_any",
    "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector":
        "keys single_host_per_subset fallback_policy fallback_keys_subset",
    "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig": "choice_count active_request_bias slow_start_config",
    "envoy.config.cluster.v3.Cluster.MaglevLbConfig": "table_size",
    "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig": "use_http_header http_header_name upstream_port_override",
    "envoy.config.cluster.v3.Cluster.RingHashLbConfig": "minimum_ring_size hash_function maximum_ring_size",
    "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig": "slow_start_config",
    "envoy.config.cluster.v3.Cluster.SlowStartConfig": "slow_start_window aggression min_weight_percent",
    "envoy.config.cluster.v3.Cluster.TransportSocketMatch": "match transport_socket",
    "envoy.config.cluster.v3.Filter": "name typed_config",
    "envoy.config.cluster.v3.OutlierDetection":
        "consecutive_5xx interval base_ejection_time max_ejection_percent enforcing_consecutive_5xx "
        "enforcing_success_rate success_rate_minimum_hosts success_rate_request_volume success_rate_stdev_factor "
        "consecutive_gateway_failure enforcing_consecutive_gateway_failure split_external_local_origin_errors "
        "consecutive_local_origin_failure enforcing_consecutive_local_origin_failure "
        "enforcing_local_origin_success_rate failure_percentage_threshold enforcing_failure_percentage "
        "enforcing_failure_percentage_local_origin failure_percentage_minimum_hosts "
        "failure_percentage_request_volume max_ejection_time max_ejection_time_jitter always_eject_one_host",
    "envoy.config.cluster.v3.UpstreamConnectionOptions": "tcp_keepalive",
    "envoy.config.core.v3.Address": "socket_address pipe",
    "envoy.config.core.v3.ApiConfigSource": "api_type transport_api_version grpc_services",
    "envoy.config.core.v3.BindConfig": "source_address extra_source_addresses",
    "envoy.config.core.v3.CidrRange": "address_prefix prefix_len",
    "envoy.config.core.v3.ConfigSource":
        "path_config_source api_config_source ads initial_fetch_timeout resource_api_version",
    "envoy.config.core.v3.DataSource": "filename inline_bytes inline_string environment_variable",
    "envoy.config.core.v3.ExtraSourceAddress": "address",
    "envoy.config.core.v3.GrpcMethodList": "services",
    "envoy.config.core.v3.GrpcMethodList.Service": "method_names",
    "envoy.config.core.v3.GrpcService": "envoy_grpc timeout initial_metadata",
    "envoy.config.core.v3.GrpcService.EnvoyGrpc": "cluster_name authority",
    "envoy.config.core.v3.HeaderValue": "key value raw_value",
    "envoy.config.core.v3.HeaderValueOption": "header append_action keep_empty_value",
    "envoy.config.core.v3.HealthCheck":
        "timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold "
        "healthy_threshold alt_port reuse_connection http_health_check tcp_health_check grpc_health_check "
        "no_traffic_interval no_traffic_healthy_interval unhealthy_interval unhealthy_edge_interval "
        "healthy_edge_interval",
    "envoy.config.core.v3.HealthCheck.GrpcHealthCheck": "service_name authority initial_metadata",
    "envoy.config.core.v3.HealthCheck.HttpHealthCheck":
        "host path request_headers_to_add request_headers_to_remove expected_statuses retriable_statuses "
        "codec_client_type service_name_matcher method",
    "envoy.config.core.v3.HealthCheck.Payload": "text binary",
    "envoy.config.core.v3.HealthCheck.TcpHealthCheck": "send receive",
    "envoy.config.core.v3.Http1ProtocolOptions":
        "allow_absolute_url accept_http_10 default_host_for_http_10 header_key_format enable_trailers "
        "allow_chunked_length",
    "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat": "proper_case_words stateful_formatter",
    "envoy.config.core.v3.Http2ProtocolOptions":
        "max_concurrent_streams initial_stream_window_size initial_connection_window_size "
        "allow_connect connection_keepalive",
    "envoy.config.core.v3.HttpProtocolOptions":
        "idle_timeout max_connection_duration max_headers_count max_response_headers_kb max_stream_duration "
        "headers_with_underscores_action max_requests_per_connection",
    "envoy.config.core.v3.HttpUri": "uri cluster timeout",
    "envoy.config.core.v3.KeepaliveSettings": "interval timeout",
    "envoy.config.core.v3.Locality": "region zone sub_zone",
    "envoy.config.core.v3.Metadata": "filter_metadata",
    "envoy.config.core.v3.Node": "id cluster metadata locality",
    "envoy.config.core.v3.PathConfigSource": "path",
    "envoy.config.core.v3.Pipe": "path",
    "envoy.config.core.v3.ProxyProtocolConfig": "version",
    "envoy.config.core.v3.RuntimeDouble": "default_value runtime_key",
    "envoy.config.core.v3.RuntimeFeatureFlag": "default_value runtime_key",
    "envoy.config.core.v3.RuntimeFractionalPercent": "default_value runtime_key",
    "envoy.config.core.v3.RuntimeUInt32": "default_value runtime_key",
    "envoy.config.core.v3.SchemeHeaderTransformation": "scheme_to_overwrite",
    "envoy.config.core.v3.SocketAddress": "protocol address port_value ipv4_compat",
    "envoy.config.core.v3.SubstitutionFormatString":
        "text_format json_format text_format_source omit_empty_values content_type formatters",
    "envoy.config.core.v3.TcpKeepalive": "keepalive_probes keepalive_time keepalive_interval",
    "envoy.config.core.v3.TransportSocket": "name typed_config",
    "envoy.config.core.v3.TypedExtensionConfig": "name typed_config",
    "envoy.config.core.v3.UpstreamHttpProtocolOptions": "auto_sni auto_san_validation override_auto_sni_header",
    "envoy.config.endpoint.v3.ClusterLoadAssignment": "cluster_name endpoints policy",
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy":
        "drop_overloads overprovisioning_factor endpoint_stale_after weighted_priority_health",
    "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload": "category drop_percentage",
    "envoy.config.endpoint.v3.Endpoint": "address health_check_config hostname",
    "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig": "port_value hostname address disable_active_health_check",
    "envoy.config.endpoint.v3.LbEndpoint": "endpoint health_status metadata load_balancing_weight",
    "envoy.config.endpoint.v3.LocalityLbEndpoints":
        "locality lb_endpoints load_balancing_weight priority",
    "envoy.config.listener.v3.AdditionalAddress": "address",
    "envoy.config.listener.v3.Filter": "name typed_config",
    "envoy.config.listener.v3.FilterChain":
        "filter_chain_match filters transport_socket transport_socket_connect_timeout name",
    "envoy.config.listener.v3.FilterChainMatch":
        "destination_port prefix_ranges address_suffix direct_source_prefix_ranges source_type source_prefix_ranges "
        "source_ports server_names transport_protocol application_protocols",
    "envoy.config.listener.v3.Listener":
        "name address additional_addresses stat_prefix filter_chains use_original_dst default_filter_chain "
        "per_connection_buffer_limit_bytes deprecated_v1 listener_filters listener_filters_timeout "
        "continue_on_listener_filters_timeout transparent freebind traffic_direction "
        "enable_reuse_port access_log tcp_backlog_size bind_to_port ignore_global_conn_limit",
    "envoy.config.listener.v3.Listener.DeprecatedV1": "bind_to_port",
    "envoy.config.listener.v3.ListenerFilter": "name typed_config filter_disabled",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate":
        "or_match and_match not_match any_match destination_port_range",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet": "rules",
    "envoy.config.metrics.v3.HistogramBucketSettings": "match buckets",
    "envoy.config.metrics.v3.StatsConfig": "stats_tags use_all_default_tags stats_matcher histogram_bucket_settings",
    "envoy.config.metrics.v3.StatsMatcher": "reject_all exclusion_list inclusion_list",
    "envoy.config.metrics.v3.TagSpecifier": "tag_name regex fixed_value",
    "envoy.config.ratelimit.v3.RateLimitServiceConfig": "grpc_service transport_api_version",
    "envoy.config.rbac.v3.Action": "name action",
    "envoy.config.rbac.v3.Permission":
        "and_rules or_rules any header url_path destination_ip destination_port destination_port_range not_rule "
        "requested_server_name uri_template",
    "envoy.config.rbac.v3.Permission.Set": "rules",
    "envoy.config.rbac.v3.Policy": "permissions principals",
    "envoy.config.rbac.v3.Principal":
        "and_ids or_ids any authenticated source_ip direct_remote_ip remote_ip header url_path metadata "
        "filter_state not_id",
    "envoy.config.rbac.v3.Principal.Authenticated": "principal_name",
    "envoy.config.rbac.v3.Principal.Set": "ids",
    "envoy.config.rbac.v3.RBAC": "action policies",
    "envoy.config.route.v3.Decorator": "operation propagate",
    "envoy.config.route.v3.DirectResponseAction": "status body",
    "envoy.config.route.v3.FilterConfig": "config is_optional disabled",
    "envoy.config.route.v3.HeaderMatcher":
        "name range_match present_match string_match invert_match treat_missing_header_as_empty",
    "envoy.config.route.v3.HedgePolicy": "initial_requests",
    "envoy.config.route.v3.InternalRedirectPolicy":
        "max_internal_redirects redirect_response_codes predicates allow_cross_scheme_redirect",
    "envoy.config.route.v3.QueryParameterMatcher": "name string_match present_match",
    "envoy.config.route.v3.RateLimit": "stage disable_key actions",
    "envoy.config.route.v3.RateLimit.Action":
        "source_cluster destination_cluster request_headers query_parameters remote_address generic_key "
        "header_value_match dynamic_metadata metadata masked_remote_address query_parameter_value_match",
    "envoy.config.route.v3.RateLimit.Action.DynamicMetaData": "descriptor_key metadata_key default_value",
    "envoy.config.route.v3.RateLimit.Action.GenericKey": "descriptor_value descriptor_key",
    "envoy.config.route.v3.RateLimit.Action.HeaderValueMatch": "descriptor_key descriptor_value expect_match",
    "envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress": "v4_prefix_mask_len v6_prefix_mask_len",
    "envoy.config.route.v3.RateLimit.Action.MetaData":
        "descriptor_key metadata_key default_value source skip_if_absent",
    "envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch":
        "descriptor_key descriptor_value expect_match query_parameters",
    "envoy.config.route.v3.RateLimit.Action.QueryParameters": "query_parameter_name descriptor_key skip_if_absent",
    "envoy.config.route.v3.RateLimit.Action.RequestHeaders": "header_name descriptor_key skip_if_absent",
    "envoy.config.route.v3.RedirectAction":
        "https_redirect scheme_redirect host_redirect port_redirect path_redirect prefix_rewrite regex_rewrite "
        "response_code strip_query",
    "envoy.config.route.v3.RetryPolicy":
        "retry_on num_retries per_try_timeout per_try_idle_timeout retry_priority retry_host_predicate "
        "retry_options_predicates host_selection_retry_max_attempts retriable_status_codes retry_back_off "
        "rate_limited_retry_back_off retriable_headers retriable_request_headers",
    "envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff": "reset_headers max_interval",
    "envoy.config.route.v3.RetryPolicy.ResetHeader": "name format",
    "envoy.config.route.v3.RetryPolicy.RetryBackOff": "base_interval max_interval",
    "envoy.config.route.v3.RetryPolicy.RetryHostPredicate": "name typed_config",
    "envoy.config.route.v3.RetryPolicy.RetryPriority": "name typed_config",
    "envoy.config.route.v3.Route":
        "name match route redirect direct_response non_forwarding_action metadata decorator typed_per_filter_config "
        "request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove "
        "per_request_buffer_limit_bytes stat_prefix",
    "envoy.config.route.v3.RouteAction":
        "cluster cluster_header weighted_clusters cluster_not_found_response_code metadata_match prefix_rewrite "
        "regex_rewrite path_rewrite_policy host_rewrite_literal auto_host_rewrite host_rewrite_header "
        "host_rewrite_path_regex append_x_forwarded_host timeout idle_timeout retry_policy request_mirror_policies "
        "priority rate_limits hash_policy max_grpc_timeout grpc_timeout_offset upgrade_configs "
        "internal_redirect_policy hedge_policy max_stream_duration",
    "envoy.config.route.v3.RouteAction.HashPolicy":
        "header cookie connection_properties query_parameter filter_state terminal",
    "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties": "source_ip",
    "envoy.config.route.v3.RouteAction.HashPolicy.Cookie": "name ttl path attributes",
    "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute": "name value",
    "envoy.config.route.v3.RouteAction.HashPolicy.FilterState": "key",
    "envoy.config.route.v3.RouteAction.HashPolicy.Header": "header_name regex_rewrite",
    "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter": "name",
    "envoy.config.route.v3.RouteAction.MaxStreamDuration":
        "max_stream_duration grpc_timeout_header_max grpc_timeout_header_offset",
    "envoy.config.route.v3.RouteAction.RequestMirrorPolicy":
        "cluster cluster_header runtime_fraction disable_shadow_host_suffix_append",
    "envoy.config.route.v3.RouteAction.UpgradeConfig": "upgrade_type enabled connect_config",
    "envoy.config.route.v3.RouteConfiguration":
        "name virtual_hosts internal_only_headers response_headers_to_add response_headers_to_remove "
        "request_headers_to_add request_headers_to_remove most_specific_header_mutations_wins validate_clusters "
        "max_direct_response_body_size_bytes request_mirror_policies ignore_port_in_host_matching vhost_header "
        "ignore_path_parameters_in_path_matching typed_per_filter_config",
    "envoy.config.route.v3.RouteMatch":
        "prefix path safe_regex connect_matcher path_separated_prefix path_match_policy case_sensitive "
        "runtime_fraction headers query_parameters grpc tls_context dynamic_metadata filter_state",
    "envoy.config.route.v3.RouteMatch.TlsContextMatchOptions": "presented validated",
    "envoy.config.route.v3.VirtualCluster": "headers name",
    "envoy.config.route.v3.VirtualHost":
        "name domains routes require_tls virtual_clusters rate_limits request_headers_to_add "
        "request_headers_to_remove response_headers_to_add response_headers_to_remove typed_per_filter_config "
        "include_request_attempt_count include_attempt_count_in_response retry_policy "
        "include_is_timeout_retry_header request_mirror_policies metadata",
    "envoy.config.route.v3.WeightedCluster": "clusters header_name",
    "envoy.config.route.v3.WeightedCluster.ClusterWeight":
        "name cluster_header weight metadata_match request_headers_to_add request_headers_to_remove "
        "response_headers_to_add response_headers_to_remove typed_per_filter_config host_rewrite_literal",
    "envoy.config.overload.v3.OverloadManager": "resource_monitors",
    "envoy.config.overload.v3.ResourceMonitor": "name typed_config",
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog": "log_format",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog": "log_format",
    "envoy.extensions.compression.gzip.decompressor.v3.Gzip": "window_bits max_inflate_ratio",
    "envoy.extensions.filters.http.compressor.v3.CompressorOverrides": "response_direction_config",
    "envoy.extensions.filters.http.compressor.v3.CompressorPerRoute": "disabled overrides",
    "envoy.extensions.filters.http.compressor.v3.ResponseDirectionOverrides": "remove_accept_encoding_header",
    "envoy.extensions.filters.http.csrf.v3.CsrfPolicy": "filter_enabled shadow_enabled additional_origins",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor":
        "decompressor_library request_direction_config response_direction_config",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor.CommonDirectionConfig": "enabled",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor.RequestDirectionConfig":
        "common_config advertise_accept_encoding",
    "envoy.extensions.filters.http.decompressor.v3.Decompressor.ResponseDirectionConfig": "common_config",
    "envoy.extensions.filters.http.ratelimit.v3.RateLimit":
        "domain stage request_type timeout failure_mode_deny rate_limited_as_resource_exhausted "
        "rate_limit_service enable_x_ratelimit_headers disable_x_envoy_ratelimited_header rate_limited_status "
        "response_headers_to_add status_on_error stat_prefix filter_enabled filter_enforced rate_limits",
    "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute": "vh_rate_limits rate_limits domain",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSession": "session_state",
    "envoy.extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute": "disabled stateful_session",
    "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit": "stat_prefix max_connections",
    "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit": "stat_prefix token_bucket runtime_enabled",
    "envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig":
        "max_active_downstream_connections",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog": "path format json_format typed_json_format log_format",
    "envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor": "entries token_bucket",
    "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry": "key value",
    "envoy.extensions.compression.gzip.compressor.v3.Gzip":
        "memory_level compression_level compression_strategy window_bits",
    "envoy.extensions.filters.common.fault.v3.FaultDelay": "fixed_delay header_delay percentage",
    "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue":
        "object_key factory_key format_string skip_if_empty",
    "envoy.extensions.filters.http.buffer.v3.Buffer": "max_request_bytes",
    "envoy.extensions.filters.http.buffer.v3.BufferPerRoute": "disabled buffer",
    "envoy.extensions.filters.http.compressor.v3.Compressor":
        "content_length compressor_library request_direction_config response_direction_config",
    "envoy.extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig":
        "enabled min_content_length content_type",
    "envoy.extensions.filters.http.compressor.v3.Compressor.RequestDirectionConfig": "common_config",
    "envoy.extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig":
        "common_config disable_on_etag_header remove_accept_encoding_header uncompressible_response_codes "
        "status_header_enabled",
    "envoy.extensions.filters.http.cors.v3.CorsPolicy":
        "allow_origin_string_match allow_methods allow_headers expose_headers max_age allow_credentials "
        "filter_enabled shadow_enabled allow_private_network_access forward_not_matching_preflights",
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
    "envoy.extensions.filters.http.rbac.v3.RBAC":
        "rules rules_stat_prefix matcher shadow_rules shadow_matcher shadow_rules_stat_prefix track_per_rule_stats",
    "envoy.extensions.filters.http.rbac.v3.RBACPerRoute": "rbac",
    "envoy.extensions.filters.http.router.v3.Router":
        "upstream_log suppress_envoy_headers strict_check_headers respect_expected_rq_timeout upstream_http_filters",
    "envoy.extensions.filters.http.set_filter_state.v3.Config": "on_request_headers",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol":
        "rules allow_requests_without_proxy_protocol disallowed_versions",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.KeyValuePair": "metadata_namespace key",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol.Rule": "tlv_type on_tlv_present",
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
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig":
        "upgrade_type filters enabled",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter":
        "name typed_config is_optional disabled",
    "envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig": "mappers body_format",
    "envoy.extensions.filters.network.http_connection_manager.v3.Rds": "config_source route_config_name",
    "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension": "typed_config",
    "envoy.extensions.filters.network.http_connection_manager.v3.ResponseMapper":
        "filter status_code body body_format_override headers_to_add",
    "envoy.extensions.filters.network.rbac.v3.RBAC":
        "rules matcher shadow_rules shadow_matcher shadow_rules_stat_prefix stat_prefix enforcement_type",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy":
        "stat_prefix cluster weighted_clusters idle_timeout access_log max_connect_attempts hash_policy "
        "max_downstream_connection_duration access_log_options",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.TcpAccessLogOptions": "flush_access_log_on_connected",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster": "clusters",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight": "name weight",
    "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig": "path_template",
    "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig": "path_template_rewrite",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig": "update_frequency",
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
    "envoy.type.matcher.v3.DoubleMatcher": "range exact",
    "envoy.type.matcher.v3.FilterStateMatcher": "key string_match",
    "envoy.type.matcher.v3.HttpRequestHeaderMatchInput": "header_name",
    "envoy.type.matcher.v3.ListMatcher": "one_of",
    "envoy.type.matcher.v3.ListStringMatcher": "patterns",
    "envoy.type.matcher.v3.MetadataMatcher": "filter path value invert",
    "envoy.type.matcher.v3.MetadataMatcher.PathSegment": "key",
    "envoy.type.matcher.v3.OrMatcher": "value_matchers",
    "envoy.type.matcher.v3.PathMatcher": "path",
    "envoy.type.matcher.v3.RegexMatchAndSubstitute": "pattern substitution",
    "envoy.type.matcher.v3.RegexMatcher": "regex",
    "envoy.type.matcher.v3.StringMatcher": "exact prefix suffix safe_regex contains ignore_case",
    "envoy.type.matcher.v3.ValueMatcher":
        "null_match double_match string_match bool_match present_match list_match or_match",
    "envoy.type.metadata.v3.MetadataKey": "key path",
    "envoy.type.metadata.v3.MetadataKey.PathSegment": "key",
    "envoy.type.v3.DoubleRange": "start end",
    "envoy.type.v3.FractionalPercent": "numerator denominator",
    "envoy.type.v3.HashPolicy": "source_ip",
    "envoy.type.v3.HttpStatus": "code",
    "envoy.type.v3.Int32Range": "start end",
    "envoy.type.v3.Int64Range": "start end",
    "envoy.type.v3.Percent": "value",
    "envoy.type.v3.TokenBucket": "max_tokens tokens_per_fill fill_interval",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig": "alpn_override",
    "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig.AlpnOverride": "upstream_protocol alpn_override",
    "stats.MetricConfig": "dimensions name tags_to_remove match drop",
    "stats.PluginConfig": "disable_host_header_fallback metrics reporter tcp_reporting_duration",
    "xds.core.v3.CidrRange": "address_prefix prefix_len",
    "xds.core.v3.TypedExtensionConfig": "name typed_config",
    "xds.type.matcher.v3.IPMatcher": "range_matchers",
    "xds.type.matcher.v3.IPMatcher.IPRangeMatcher": "ranges on_match",
    "xds.type.matcher.v3.Matcher": "matcher_list matcher_tree on_no_match",
    "xds.type.matcher.v3.Matcher.MatcherList": "matchers",
    "xds.type.matcher.v3.Matcher.MatcherList.FieldMatcher": "predicate on_match",
    "xds.type.matcher.v3.Matcher.MatcherList.Predicate": "single_predicate or_matcher and_matcher not_matcher",
    "xds.type.matcher.v3.Matcher.MatcherList.Predicate.PredicateList": "predicate",
    "xds.type.matcher.v3.Matcher.MatcherList.Predicate.SinglePredicate": "input value_match",
    "xds.type.matcher.v3.Matcher.MatcherTree": "input exact_match_map prefix_match_map custom_match",
    "xds.type.matcher.v3.Matcher.MatcherTree.MatchMap": "map",
    "xds.type.matcher.v3.Matcher.OnMatch": "matcher action",
    "xds.type.matcher.v3.RegexMatcher": "regex",
    "xds.type.matcher.v3.StringMatcher": "exact prefix suffix safe_regex contains ignore_case",
}
# fmt: on
