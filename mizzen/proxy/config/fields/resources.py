"""What is served of envoy.config: the bootstrap, resources and what they are made of."""

from __future__ import annotations

# fmt: off
RESOURCES: dict[str, str] = {
    "envoy.config.accesslog.v3.AccessLog": "name filter typed_config",
    "envoy.config.accesslog.v3.AccessLogFilter":
        "status_code_filter duration_filter not_health_check_filter traceable_filter runtime_filter and_filter "
        "or_filter header_filter response_flag_filter grpc_status_filter metadata_filter log_type_filter extension_filter",
    "envoy.config.accesslog.v3.AndFilter": "filters",
    "envoy.config.accesslog.v3.ComparisonFilter": "op value",
    "envoy.config.accesslog.v3.DurationFilter": "comparison",
    "envoy.config.accesslog.v3.ExtensionFilter": "name typed_config",
    "envoy.config.accesslog.v3.GrpcStatusFilter": "statuses exclude",
    "envoy.config.accesslog.v3.HeaderFilter": "header",
    "envoy.config.accesslog.v3.LogTypeFilter": "types exclude",
    "envoy.config.accesslog.v3.MetadataFilter": "matcher match_if_key_not_found",
    "envoy.config.accesslog.v3.OrFilter": "filters",
    "envoy.config.accesslog.v3.ResponseFlagFilter": "flags",
    "envoy.config.accesslog.v3.RuntimeFilter": "runtime_key percent_sampled",
    "envoy.config.accesslog.v3.StatusCodeFilter": "comparison",
    "envoy.config.bootstrap.v3.Admin": "access_log address",
    "envoy.config.bootstrap.v3.Bootstrap":
        "node static_resources dynamic_resources stats_config layered_runtime admin overload_manager "
        "application_log_config tracing stats_sinks stats_flush_interval stats_flush_on_admin",
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
        "transport_socket metadata protocol_selection upstream_connection_options filters load_balancing_policy",
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
    "envoy.config.cluster.v3.LoadBalancingPolicy": "policies",
    "envoy.config.cluster.v3.LoadBalancingPolicy.Policy": "typed_extension_config",
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
    "envoy.config.core.v3.BackoffStrategy": "base_interval max_interval",
    "envoy.config.core.v3.BindConfig": "source_address extra_source_addresses",
    "envoy.config.core.v3.CidrRange": "address_prefix prefix_len",
    "envoy.config.core.v3.ExtensionConfigSource":
        "config_source default_config apply_default_config_without_warming type_urls",
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
        "allow_connect connection_keepalive max_outbound_frames max_outbound_control_frames "
        "max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream "
        "max_inbound_window_update_frames_per_data_frame_sent",
    "envoy.config.core.v3.HttpProtocolOptions":
        "idle_timeout max_connection_duration max_headers_count max_response_headers_kb max_stream_duration "
        "headers_with_underscores_action max_requests_per_connection",
    "envoy.config.core.v3.HttpService": "http_uri request_headers_to_add",
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
    "envoy.config.listener.v3.Filter": "name typed_config config_discovery",
    "envoy.config.listener.v3.FilterChain":
        "filter_chain_match filters transport_socket transport_socket_connect_timeout name",
    "envoy.config.listener.v3.FilterChainMatch":
        "destination_port prefix_ranges address_suffix direct_source_prefix_ranges source_type source_prefix_ranges "
        "source_ports server_names transport_protocol application_protocols",
    "envoy.config.listener.v3.Listener":
        "name address additional_addresses stat_prefix filter_chains use_original_dst default_filter_chain "
        "per_connection_buffer_limit_bytes deprecated_v1 listener_filters listener_filters_timeout "
        "continue_on_listener_filters_timeout transparent freebind traffic_direction "
        "enable_reuse_port access_log tcp_backlog_size bind_to_port ignore_global_conn_limit "
        "bypass_overload_manager",
    "envoy.config.listener.v3.Listener.DeprecatedV1": "bind_to_port",
    "envoy.config.listener.v3.ListenerFilter": "name typed_config filter_disabled",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate":
        "or_match and_match not_match any_match destination_port_range",
    "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet": "rules",
    "envoy.config.metrics.v3.HistogramBucketSettings": "match buckets",
    "envoy.config.metrics.v3.StatsConfig": "stats_tags use_all_default_tags stats_matcher histogram_bucket_settings",
    "envoy.config.metrics.v3.StatsMatcher": "reject_all exclusion_list inclusion_list",
    "envoy.config.metrics.v3.TagSpecifier": "tag_name regex fixed_value",
    "envoy.config.metrics.v3.DogStatsdSink": "address prefix max_bytes_per_datagram",
    "envoy.config.metrics.v3.MetricsServiceConfig":
        "grpc_service transport_api_version report_counters_as_deltas emit_tags_as_labels histogram_emit_mode batch_size",
    "envoy.config.metrics.v3.StatsSink": "name typed_config",
    "envoy.config.metrics.v3.StatsdSink": "address tcp_cluster_name prefix",
    "envoy.config.overload.v3.LoadShedPoint": "name triggers",
    "envoy.config.overload.v3.OverloadAction": "name triggers typed_config",
    "envoy.config.overload.v3.OverloadManager": "refresh_interval resource_monitors actions loadshed_points",
    "envoy.config.overload.v3.ResourceMonitor": "name typed_config",
    "envoy.config.overload.v3.ScaleTimersOverloadActionConfig": "timer_scale_factors",
    "envoy.config.overload.v3.ScaleTimersOverloadActionConfig.ScaleTimer": "timer min_timeout min_scale",
    "envoy.config.overload.v3.ScaledTrigger": "scaling_threshold saturation_threshold",
    "envoy.config.overload.v3.ThresholdTrigger": "value",
    "envoy.config.overload.v3.Trigger": "name threshold scaled",
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
        "name match route redirect direct_response non_forwarding_action metadata decorator tracing typed_per_filter_config "
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
    "envoy.config.route.v3.Tracing": "client_sampling random_sampling overall_sampling custom_tags operation",
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
    "envoy.config.trace.v3.OpenTelemetryConfig":
        "grpc_service http_service service_name resource_detectors sampler max_cache_size",
    "envoy.config.trace.v3.Tracing": "http",
    "envoy.config.trace.v3.Tracing.Http": "name typed_config",
    "envoy.config.trace.v3.ZipkinConfig":
        "collector_cluster collector_endpoint trace_id_128bit shared_span_context collector_endpoint_version "
        "collector_hostname trace_context_option collector_service",
}
# fmt: on
