"""Messages of several cameras put together by their stamps."""
