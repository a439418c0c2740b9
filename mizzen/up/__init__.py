"""Everything wired together on one machine."""
