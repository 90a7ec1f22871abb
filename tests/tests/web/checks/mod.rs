//! What holds for every framework, asked over HTTP.
//!
//! Each is a function over the [`Framework`](crate::world::Framework); a framework's module
//! makes tests of all of them by [`checks_of!`], which lists them.

mod busy; // connections that are all in use, and statements counted
mod clean; // what happens to a request leaves nothing to the next one
mod hosts; // hosts, good, unknown and malformed
mod observe; // what logs and metrics say
mod tenants; // the tenant at hand, routes, paths, headers

pub(crate) use self::busy::*;
pub(crate) use self::clean::*;
pub(crate) use self::hosts::*;
pub(crate) use self::observe::*;
pub(crate) use self::tenants::*;

/// Makes a test of each check, for one framework.
macro_rules! checks_of {
    ($framework:ty) => {
        $crate::checks::checks_of! { $framework:
            c70_hosts_are_the_same_host_however_they_are_spelled,
            c70_an_absolute_target_goes_before_the_header,
            c70_ipv6_addresses_are_hosts,
            c71_the_main_domain_is_the_public_tenant,
            c72_unknown_hosts_are_404_by_default,
            c72_unknown_hosts_can_be_400,
            c72_unknown_hosts_can_be_public,
            c72_unknown_hosts_can_be_a_chosen_tenant,
            c73_malformed_hosts_are_400,
            c74_subdomains_name_schemas,
            c74_a_path_prefix_is_stripped_before_routing,
            c74_a_header_names_a_tenant,
            c74_a_chain_is_asked_in_its_order,
            c75_public_and_tenants_have_routes_of_their_own,
            c76_the_tenant_is_at_hand_and_the_connection_is_scoped,
            c76_a_path_that_is_bypassed_has_no_tenant,
            c76_a_suspended_tenant_is_403,
            c76_a_tenant_without_a_schema_is_503_until_it_has_one,
            c79_a_tenant_whose_name_goes_to_another_before_it_is_entered_gets_nothing_of_the_others,
            c79_parallel_requests_of_many_tenants_never_mix,
            c79_a_panic_in_a_handler_leaves_the_pool_clean,
            c79_a_panic_in_a_closure_leaves_the_pool_clean,
            c79_a_client_that_goes_away_leaves_the_pool_clean,
            c79_a_body_that_queries_while_it_streams_stays_in_its_tenant,
            c79_a_task_that_outlives_its_request_stays_in_its_tenant,
            c79_connections_that_died_are_replaced,
            c79_a_path_that_was_moved_is_not_the_next_requests,
            c79_what_fails_is_rolled_back,
            when_all_connections_are_in_use_503_says_when_to_try_again,
            a_request_takes_as_many_statements_as_the_documentation_says,
            c111_log_lines_carry_schema_and_domain,
            metrics_tell_outcomes_and_groups_and_never_tenants,
        }
    };
    ($framework:ty: $($check:ident),* $(,)?) => {
        $(
            #[test]
            fn $check() {
                crate::checks::$check::<$framework>();
            }
        )*
    };
}
pub(crate) use checks_of;
