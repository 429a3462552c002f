def lacking(*, privileged: bool) -> list[str]:
    return []
