# Managed by Updraft. A thin pool grows by a fifth when it is four fifths full, as long as its group has room.
activation {
	thin_pool_autoextend_threshold=80
	thin_pool_autoextend_percent=20
}
