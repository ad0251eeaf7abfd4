# Copyright 2026 The grasp_ros authors
# SPDX-License-Identifier: Apache-2.0
