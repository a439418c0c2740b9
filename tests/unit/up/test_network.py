from mizzen.up.network import Addresses, taken


def test_an_index_is_taken_by_pods_or_services():
    assert taken(["10.244.1.0/24"]) == {1}
    assert taken(["10.98.0.0/16"]) == {2}
    assert taken(["192.168.0.0/16", "10.0.0.0/8"]) == set()  # a route to all of 10/8 is no neighbour
    assert taken(["10.96.0.0/12"]) == set(range(16))


def test_addresses_of_one_index_belong_together():
    a = Addresses(3)
    assert (a.pods, a.services, a.host, a.dns) == ("10.244.3.0/24", "10.99.0.0/16", "10.244.3.1", "10.99.0.10")
